"""What does `python -m tlbench` do? The same as `tlbench`."""

from tlbench.cli import main

if __name__ == "__main__":
    main()
