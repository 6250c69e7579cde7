import threading, time
lock = threading.Lock()
total = 0
def work():
    global total
    for _ in range(1000):
        with lock:
            total += 1
ts = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
print(total)
threading.Thread(target=lambda: (time.sleep(0.1), print('after main'))).start()
print('main ends')
