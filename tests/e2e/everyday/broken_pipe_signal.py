import os, signal
print(signal.getsignal(signal.SIGPIPE))
r, w = os.pipe()
os.close(r)
os.write(w, b'x')
