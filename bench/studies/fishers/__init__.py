"""EWC by five ways to compute the Fisher information: which is best, and what does it cost?"""
