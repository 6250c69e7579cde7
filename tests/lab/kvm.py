# SPDX-License-Identifier: MIT
"""In the nested lab: where KVM is real, it is found and used."""

import time

import flashvm as fvm

report = fvm.doctor()
print(report["note"])
assert report["kvm"] and report["ready"]
assert report["engines"]["qemu"]["accelerator"] == "kvm", report

for n in range(5):
    begin = time.monotonic()
    res = fvm.run(f"open('out/n', 'w').write('{n}'); print({n})", expect=["out/*"])
    assert (res.exit_code, res.stdout, res.accelerator) == (0, f"{n}\n", "kvm"), res
    assert res.artifacts[0].content == b"%d" % n
    print(f"run {n}: {time.monotonic() - begin:.1f} s, {res.timings}")

res = fvm.run("import time; print('a'); time.sleep(100)", timeout_seconds=2)
assert (res.exit_code, res.stdout, res.timed_out) == (124, "a\n", True), res
print("all good")
