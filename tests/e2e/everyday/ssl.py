import hashlib, ssl
c = ssl.create_default_context()
print(len(c.get_ca_certs()) > 50, c.verify_mode, hashlib.sha256(b'x').hexdigest())
