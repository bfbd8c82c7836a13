CREATE MACRO py.listed(neurons) AS ('[' || trim(neurons::VARCHAR, '[]') || ']')::INTEGER[];

COMMENT ON MACRO py.listed IS
'A list of neurons from a neuron (7) or a list ([7, 8]), so that macros take either.';
