import logging
logging.basicConfig(level=logging.INFO)
logging.info('message')
logging.getLogger('x').error('bad')
