import sys
sys.exit('that is wrong')
