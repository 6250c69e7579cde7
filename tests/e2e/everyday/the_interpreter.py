import sys
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.executable, sys.prefix)
print(sys.stdin.encoding, sys.stdout, sys.stderr, sys.getfilesystemencoding(), sys._xoptions, sys.warnoptions)
