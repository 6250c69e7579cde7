import sqlite3
c = sqlite3.connect('t.db')
c.execute('create table t(a, b)')
c.executemany('insert into t values (?, ?)', [(i, str(i)) for i in range(100)])
c.commit()
print(c.execute('select sum(a), max(b) from t').fetchone())
