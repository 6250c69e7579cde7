import multiprocessing as mp
def f(q):
    q.put(__name__)
if __name__ == '__main__':
    context = mp.get_context('spawn')
    q = context.Queue()
    p = context.Process(target=f, args=(q,))
    p.start()
    print(q.get(), __name__)
    p.join()
    print(p.exitcode)
