import os, tempfile
with tempfile.NamedTemporaryFile() as f:
    print(os.path.dirname(f.name), os.path.exists(f.name))
print(os.path.expanduser('~'), tempfile.gettempdir())
