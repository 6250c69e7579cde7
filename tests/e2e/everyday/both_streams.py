import sys
for i in range(200):
    print(i, file=(sys.stdout, sys.stderr)[i % 2])
