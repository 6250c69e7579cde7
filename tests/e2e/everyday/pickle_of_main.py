import pickle
class C:
    x = 1
print(pickle.loads(pickle.dumps(C())).x, C)
