CREATE MACRO bin_edge(code) AS
    CASE
        WHEN code = 0 THEN 0.0::DOUBLE
        WHEN code >= 512 THEN 'infinity'::DOUBLE
        ELSE pow(2.0, (code - 1) // 16 - 16) * (1 + ((code - 1) % 16) / 16)
    END;

COMMENT ON MACRO bin_edge IS
'Smallest magnitude with a histogram code: 0 for code 0, then 16 codes an octave from 2^-16 up.';

CREATE MACRO bin_low(bin) AS
    CASE WHEN bin >= 512 THEN bin_edge(bin - 512) ELSE 0.0 - bin_edge(512 - bin) END;

COMMENT ON MACRO bin_low IS
'Lower edge of a histogram bin (0 to 1023); bins above 0 hold it (0 itself is in bin 511), bins below 0 do not.';

CREATE MACRO bin_high(bin) AS
    CASE WHEN bin >= 512 THEN bin_edge(bin - 511) ELSE 0.0 - bin_edge(511 - bin) END;

COMMENT ON MACRO bin_high IS
'Upper edge of a histogram bin (0 to 1023); bins up to 0 hold it, bins above 0 do not.';
