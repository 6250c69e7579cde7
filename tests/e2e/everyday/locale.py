import locale
print(locale.setlocale(locale.LC_ALL, ''), locale.getlocale(), f'{1234567:n}')
