-- Whether what replaced row h was observed no earlier; a condition.
(h.batch <> h.replaced_by AND (EXISTS (
    SELECT FROM {table} s WHERE {same} AND s.batch = h.replaced_by AND s.observed_at >= h.observed_at
) OR EXISTS (
    SELECT FROM {history} s
    WHERE {same} AND s.batch = h.replaced_by AND s.observed_at >= h.observed_at
)))
