import time, json, os, signal
import pytest, flashvm as fvm
from callers import *
pytestmark = pytest.mark.usefixtures("stand_in")
@pytest.mark.timeout(20)
def test_a():
    p = start_python("import flashvm; flashvm.run('console-flood', timeout_seconds=0.5)")
    wait_until_running(p.pid)
    time.sleep(.5)
    t=time.time()
    p.send_signal(2); 
    try: print(p.communicate(timeout=8)[1][-100:])
    except Exception as e: print(repr(e)); p.kill()
    print(time.time()-t)
