"""Makes packages and reads them: what stands here knows no board and no simulation."""
