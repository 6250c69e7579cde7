"""The quick start: a snippet in a microVM of its own, and a file that it leaves behind."""

import flashvm as fvm

code = """
import pathlib, platform
print("Hello from microVM!")
pathlib.Path("out/result.txt").write_text(f"made by Linux {platform.release()}\\n")
"""

fvm.prepare_image()  # not a must: the first run does it by itself
res = fvm.run(code, expect=["out/*.txt"])

print(res["stdout"], end="")
print(f"exit code {res['exit_code']}, engine {res['engine']}, image {res['image_used']}")
for artifact in res["artifacts"]:
    print(f"artifact {artifact['guest_path']}, {artifact['size_bytes']} bytes")
    print(artifact["content"].decode(), end="")
