"""python -m faceseal.cli"""

from faceseal.cli import main

main()
