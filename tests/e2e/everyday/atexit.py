import atexit, sys
atexit.register(print, 'bye')
atexit.register(print, 'last first')
sys.exit(5)
