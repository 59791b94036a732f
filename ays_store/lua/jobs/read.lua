return snapshot(ARGV)
