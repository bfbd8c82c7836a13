CREATE MACRO in_context(text, char_start, char_end, around := 40) AS
replace(
    substring(text, greatest(char_start - around, 0) + 1, least(char_start, around))
    || '[[' || substring(text, char_start + 1, char_end - char_start) || ']]'
    || substring(text, char_end + 1, around),
    chr(10), ' '
);

COMMENT ON MACRO in_context IS
'The characters char_start to char_end of a text marked [[so]], with those around them.';
