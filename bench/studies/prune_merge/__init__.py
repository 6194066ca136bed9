"""What a twin network is good for: which filters may go (prune), and one network of two (merge)."""
