import os, signal, resource
print(os.getcwd(), os.getuid(), os.getgid(), os.getgroups(), oct(os.umask(0)), sorted(os.environ.items()))
print(sorted(os.listdir('/proc/self/fd')), [s for s in range(1, 65) if s not in (32, 33) and signal.getsignal(s) not in (signal.SIG_DFL,)])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), resource.getrlimit(resource.RLIMIT_CORE))
