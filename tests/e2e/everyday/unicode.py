print('αβ 😀', '你好')
import sys
print('é', file=sys.stderr)
