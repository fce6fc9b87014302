"""tlbench: which way of transferring a pretrained network works when labels are few?"""

__version__ = "0.1.0"
