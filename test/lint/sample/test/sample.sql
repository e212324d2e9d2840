SET vdb.stop_point = 'low-nowhere:3';
SET vdb.stop_point = 'low-twice';
