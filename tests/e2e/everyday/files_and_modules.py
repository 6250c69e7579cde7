import os, pathlib
pathlib.Path('helper.py').write_text('def f():\n    return __name__\n')
import helper
print(helper.f(), helper.__file__, sorted(os.listdir()), os.listdir('out'))
