return size('ZCOUNT', WORKERS, int(now() - LIVE), '+inf')
