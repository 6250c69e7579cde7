import warnings
warnings.warn('old', DeprecationWarning)
warnings.warn('take care')
'\d'
