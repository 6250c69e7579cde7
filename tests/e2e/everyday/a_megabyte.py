import sys
sys.stdout.write('0123456789abcdef' * 65536)
sys.stderr.write('e' * 300000)
