class C:
    def __del__(self):
        raise RuntimeError('in del')
c = C()
del c
print('on')
