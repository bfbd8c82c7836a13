CREATE MACRO position_bucket(place) AS
CASE
    WHEN place < 2 THEN place::VARCHAR
    -- The bits of a number tell its power of two exactly, which a logarithm does not.
    ELSE (1::BIGINT << (length(bin(place)) - 1))::VARCHAR || '-' || ((1::BIGINT << length(bin(place))) - 1)::VARCHAR
END;

COMMENT ON MACRO position_bucket IS
'The bucket of a position counted from 0, which doubles in width: 0, 1, 2-3, 4-7, 8-15, ...';
