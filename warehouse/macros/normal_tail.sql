CREATE MACRO normal_tail(z) AS (
    -- P(Z > z) of a standard normal variable, by the Chebyshev fit to erfc of Press et al.,
    -- Numerical Recipes, section 6.2: within 1.2e-7 of the value everywhere. The lists of one name a
    -- value that is used several times; a subquery could not be asked for many rows.
    list_transform(
        list_transform(
            [1 / (1 + abs(z) / sqrt(8.0))],
            lambda t: 0.5 * t * exp(
                -z * z / 2 - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (
                    0.09678418 + t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (
                        1.48851587 + t * (-0.82215223 + t * 0.17087277)
                    )))))
                ))
            )
        ),
        lambda tail: CASE WHEN z >= 0 THEN tail ELSE 1 - tail END
    )[1]
);

COMMENT ON MACRO normal_tail IS
'Probability that a standard normal variable is above z, within 1.2e-7 of the value.';
