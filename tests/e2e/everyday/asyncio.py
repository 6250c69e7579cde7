import asyncio
async def f(n):
    await asyncio.sleep(n / 100)
    return n
async def main():
    print(await asyncio.gather(*(f(n) for n in (3, 1, 2))))
    p = await asyncio.create_subprocess_exec('echo', 'from a process', stdout=asyncio.subprocess.PIPE)
    print(await p.communicate())
asyncio.run(main())
