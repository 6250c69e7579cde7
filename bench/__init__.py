# SPDX-License-Identifier: MIT
"""What a run costs: `make bench`, or `python -m bench --help`. It uses the installed package."""
