import subprocess
print(subprocess.run('echo out; echo err >&2; exit 4', shell=True, capture_output=True))
subprocess.run(['sh', '-c', 'echo direct'])
