-- What the pages of calls are made of: totals, series and breakdowns.
-- Locks: none; it only creates.

create type observability_internal.breakdown_row as (
  dimension text,
  key text,
  requests numeric,
  prompt_tokens numeric,
  completion_tokens numeric,
  cached_tokens numeric,
  cost numeric,
  unpriced_requests numeric,
  previous_cost numeric,
  previous_priced_requests numeric,
  errors numeric
);

create function observability_internal.rank_rows(
  entries observability_internal.breakdown_row[], row_limit integer, by_tokens boolean
) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  with ranked as (
    select
      e.*,
      row_number() over (
        partition by e.dimension
        order by case when by_tokens then e.prompt_tokens + e.completion_tokens else e.cost end desc nulls last, e.requests desc, e.key
      ) as place
    from unnest(entries) as e
  ),
  shown as (
    select
      r.dimension, case when r.place <= row_limit then r.key end as key, r.place > row_limit as is_other,
      min(r.place) as place, sum(r.requests) as requests, sum(r.prompt_tokens) as prompt_tokens,
      sum(r.completion_tokens) as completion_tokens, sum(r.cached_tokens) as cached_tokens, sum(r.cost) as cost,
      sum(r.unpriced_requests) as unpriced_requests, sum(r.previous_cost) as previous_cost,
      sum(r.previous_priced_requests) as previous_priced_requests, coalesce(sum(r.errors), 0) as errors,
      count(*) as keys
    from ranked as r
    group by r.dimension, case when r.place <= row_limit then r.key end, r.place > row_limit
  ),
  lists as (
    select
      s.dimension,
      jsonb_agg(jsonb_build_object(
        'key', s.key, 'is_other', s.is_other, 'keys', s.keys, 'requests', s.requests,
        'total_tokens', s.prompt_tokens + s.completion_tokens, 'prompt_tokens', s.prompt_tokens,
        'completion_tokens', s.completion_tokens, 'cached_tokens', s.cached_tokens, 'errors', s.errors,
        'unpriced_requests', s.unpriced_requests,
        'cost', case when s.requests > s.unpriced_requests then s.cost::text end,
        'previous_cost', case when s.previous_priced_requests > 0 then s.previous_cost::text end
      ) order by s.place) as rows
    from shown as s
    group by s.dimension
  )
  select coalesce(jsonb_object_agg(l.dimension, l.rows), '{}') from lists as l;
$$;

comment on function observability_internal.rank_rows is
'The rows of each dimension that cost most, or used most tokens, and one row for the others, as {dimension: [row]}.';
revoke execute on function observability_internal.rank_rows from public;
grant execute on function observability_internal.rank_rows to authenticated, service_role;

create function observability_internal.totals_document(
  sums observability_internal.usage_sum[], is_current boolean, latencies jsonb
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'requests', coalesce(sum(s.requests), 0), 'prompt_tokens', coalesce(sum(s.prompt_tokens), 0),
    'completion_tokens', coalesce(sum(s.completion_tokens), 0),
    'total_tokens', coalesce(sum(s.prompt_tokens + s.completion_tokens), 0),
    'cached_tokens', coalesce(sum(s.cached_tokens), 0), 'cache_write_tokens', coalesce(sum(s.cache_write_tokens), 0),
    'reasoning_tokens', coalesce(sum(s.reasoning_tokens), 0),
    'audio_input_tokens', coalesce(sum(s.audio_input_tokens), 0),
    'audio_output_tokens', coalesce(sum(s.audio_output_tokens), 0),
    'errors', coalesce(sum(s.requests) filter (where d.status = 'error'), 0),
    'cancelled', coalesce(sum(s.requests) filter (where d.status = 'cancelled'), 0),
    -- No call costs nothing; calls without a price cost nobody knows what.
    'cost', case
      when coalesce(sum(s.requests), 0) = 0 then '0'
      when sum(s.requests) > sum(s.unpriced_requests + s.fallback_requests) then sum(s.cost)::text
    end,
    -- Tokens are not told apart by price within one combination of dimensions: only those of which all calls have one.
    'wholly_priced_cost', coalesce(sum(s.cost) filter (where s.unpriced_requests + s.fallback_requests = 0), 0)::text,
    'wholly_priced_tokens', coalesce(sum(s.prompt_tokens + s.completion_tokens) filter (
      where s.unpriced_requests + s.fallback_requests = 0
    ), 0),
    'fallback_cost', coalesce(sum(s.fallback_cost), 0)::text,
    'provider_reported_cost', coalesce(sum(s.provider_reported_cost), 0)::text,
    'unpriced_requests', coalesce(sum(s.unpriced_requests), 0),
    'fallback_requests', coalesce(sum(s.fallback_requests), 0),
    'estimated_requests', coalesce(sum(s.estimated_requests), 0)
  ) || totals_document.latencies
  from unnest(sums) as s
  inner join observability_internal.dimensions as d using (dim_id)
  where s.is_current = totals_document.is_current;
$$;

comment on function observability_internal.totals_document is 'Requests, tokens, cost, shares and percentiles of the period or of the one before.';
revoke execute on function observability_internal.totals_document from public;
grant execute on function observability_internal.totals_document to authenticated, service_role;

create function observability_internal.latency_totals(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'latency_ms', jsonb_build_object(
      'count', coalesce(max(p.latency_count), 0), 'p50', max(p.latency_p50), 'p90', max(p.latency_p90), 'p99', max(p.latency_p99)
    ),
    'time_to_first_token_ms', jsonb_build_object(
      'count', coalesce(max(p.first_count), 0), 'p50', max(p.first_p50), 'p90', max(p.first_p90), 'p99', max(p.first_p99)
    )
  )
  from observability_internal.percentiles(scope, latency_totals.from_time, latency_totals.to_time, 'total', false, true) as p;
$$;

comment on function observability_internal.latency_totals is '{latency_ms, time_to_first_token_ms}, each {count, p50, p90, p99}.';
revoke execute on function observability_internal.latency_totals from public;
grant execute on function observability_internal.latency_totals to authenticated, service_role;

create function observability_internal.usage_series(
  points observability_internal.usage_point[], group_by text, by_tokens boolean
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  -- The eight keys that cost most, or used most tokens, keep their name, by requests where these are equal; the rest is one
  -- line.
  with kept as (
    select p.key from unnest(points) as p
    group by p.key
    order by
      case when by_tokens then sum(p.prompt_tokens + p.completion_tokens) else sum(p.cost) end desc nulls last,
      sum(p.requests) desc, p.key
    limit 8
  ),
  named as (
    select
      p.bucket_start, k.key, sum(p.requests) as requests, sum(p.errors) as errors,
      sum(p.prompt_tokens) as prompt_tokens, sum(p.completion_tokens) as completion_tokens,
      sum(p.cached_tokens) as cached_tokens, sum(p.reasoning_tokens) as reasoning_tokens, sum(p.cost) as cost,
      sum(p.unpriced_requests) as unpriced_requests
    from unnest(points) as p
    left join kept as k on p.key = k.key
    group by p.bucket_start, k.key
  )
  select coalesce(jsonb_agg(
    jsonb_build_object(
      'bucket_start', n.bucket_start, 'key', n.key,
      'is_other', usage_series.group_by is not null and n.key is null, 'requests', n.requests,
      'prompt_tokens', n.prompt_tokens, 'completion_tokens', n.completion_tokens,
      'total_tokens', n.prompt_tokens + n.completion_tokens, 'cached_tokens', n.cached_tokens,
      'reasoning_tokens', n.reasoning_tokens, 'errors', n.errors,
      'cost', case when n.requests > n.unpriced_requests then n.cost::text end
    ) order by n.bucket_start, n.key nulls last
  ), '[]')
  from named as n;
$$;

comment on function observability_internal.usage_series is 'Points by bucket and, where group_by is given, key (top 8, the rest as key null).';
revoke execute on function observability_internal.usage_series from public;
grant execute on function observability_internal.usage_series to authenticated, service_role;

create function observability_internal.latency_series(
  scope observability_internal.read_scope, points observability_internal.usage_point[], has_first boolean
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with counts as (
    select
      p.bucket_start, sum(p.requests) as requests, sum(p.errors) as errors,
      sum(p.prompt_tokens + p.completion_tokens) as total_tokens,
      case when sum(p.requests) > sum(p.unpriced_requests) then sum(p.cost)::text end as cost
    from unnest(points) as p
    group by p.bucket_start
  )
  select coalesce(jsonb_agg(
    jsonb_build_object(
      'bucket_start', n.bucket_start, 'requests', n.requests, 'errors', n.errors, 'total_tokens', n.total_tokens,
      'cost', n.cost, 'latency_p50_ms', l.latency_p50, 'latency_p90_ms', l.latency_p90, 'latency_p99_ms', l.latency_p99
    ) || case when has_first then jsonb_build_object(
      'time_to_first_token_p50_ms', l.first_p50, 'time_to_first_token_p90_ms', l.first_p90,
      'time_to_first_token_p99_ms', l.first_p99
    ) else '{}' end order by n.bucket_start
  ), '[]')
  from counts as n
  left join observability_internal.percentiles(
    scope, (scope).from_time, (scope).to_time, 'total', true, has_first
  ) as l using (bucket_start);
$$;

comment on function observability_internal.latency_series is 'Requests, errors, tokens, cost and percentiles (ms) by bucket.';
revoke execute on function observability_internal.latency_series from public;
grant execute on function observability_internal.latency_series to authenticated, service_role;

create function observability_internal.usage_breakdown(
  sums observability_internal.usage_sum[], dimensions text[], row_limit integer, by_tokens boolean
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with keyed as (
    select
      names.dimension, names.key, sum(s.requests) filter (where s.is_current) as requests,
      sum(s.prompt_tokens) filter (where s.is_current) as prompt_tokens,
      sum(s.completion_tokens) filter (where s.is_current) as completion_tokens,
      sum(s.cached_tokens) filter (where s.is_current) as cached_tokens,
      sum(s.cost) filter (where s.is_current) as cost,
      sum(s.unpriced_requests + s.fallback_requests) filter (where s.is_current) as unpriced_requests,
      sum(s.cost) filter (where not s.is_current) as previous_cost,
      sum(s.requests - s.unpriced_requests - s.fallback_requests) filter (where not s.is_current) as previous_priced_requests,
      sum(s.requests) filter (where s.is_current and d.status = 'error') as errors
    from unnest(sums) as s
    inner join observability_internal.dimensions as d using (dim_id)
    cross join lateral (
      values ('model', d.model), ('feature', d.feature), ('provider', d.provider), ('environment', d.environment),
      ('operation', d.operation), ('status', d.status)
    ) as names (dimension, key)
    where names.dimension = any (usage_breakdown.dimensions)
    group by names.dimension, names.key
  )
  select observability_internal.rank_rows(
    array(select row(k.*)::observability_internal.breakdown_row from keyed as k where k.requests > 0), row_limit, by_tokens
  );
$$;

comment on function observability_internal.usage_breakdown is 'Rows by the values of each dimension, the period before beside them.';
revoke execute on function observability_internal.usage_breakdown from public;
grant execute on function observability_internal.usage_breakdown to authenticated, service_role;

create function observability_internal.latency_breakdown(
  scope observability_internal.read_scope, sums observability_internal.usage_sum[], dimension text
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with counts as (
    select
      case latency_breakdown.dimension when 'model' then d.model when 'feature' then d.feature end collate "C" as key,
      sum(s.requests) as requests, coalesce(sum(s.requests) filter (where d.status = 'error'), 0) as errors
    from unnest(sums) as s
    inner join observability_internal.dimensions as d using (dim_id)
    where s.is_current
    group by 1
    order by sum(s.requests) desc, 1
    limit (scope).row_limit
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'key', n.key, 'requests', n.requests, 'errors', n.errors, 'latency_p50_ms', l.latency_p50,
    'latency_p90_ms', l.latency_p90, 'latency_p99_ms', l.latency_p99, 'time_to_first_token_p50_ms', l.first_p50,
    'time_to_first_token_p90_ms', l.first_p90, 'time_to_first_token_p99_ms', l.first_p99
  ) order by n.requests desc, n.key), '[]')
  from counts as n
  left join observability_internal.percentiles(
    scope, (scope).from_time, (scope).to_time, latency_breakdown.dimension, false, true
  ) as l using (key);
$$;

comment on function observability_internal.latency_breakdown is 'Requests, errors and percentiles (ms) by model or feature, busiest first.';
revoke execute on function observability_internal.latency_breakdown from public;
grant execute on function observability_internal.latency_breakdown to authenticated, service_role;

create function observability_internal.errors_by_type(sums observability_internal.usage_sum[]) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('error_type', t.error_type, 'requests', t.requests) order by t.requests desc, t.error_type), '[]')
  from (
    select coalesce(nullif(d.error_type, ''), 'unknown') as error_type, sum(s.requests) as requests
    from unnest(sums) as s
    inner join observability_internal.dimensions as d using (dim_id)
    where s.is_current and d.status = 'error'
    group by coalesce(nullif(d.error_type, ''), 'unknown')
    order by requests desc
    limit 50
  ) as t;
$$;

comment on function observability_internal.errors_by_type is 'Failed calls by error type, most frequent first.';
revoke execute on function observability_internal.errors_by_type from public;
grant execute on function observability_internal.errors_by_type to authenticated, service_role;

create function observability_internal.token_kinds(sums observability_internal.usage_sum[]) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(k) || jsonb_build_object('cost', k.cost::text) order by k.cost desc, k.provider, k.model), '[]')
  from (
    select
      d.provider, d.model, sum(s.prompt_tokens) as prompt_tokens, sum(s.completion_tokens) as completion_tokens,
      sum(s.cached_tokens) as cached_tokens, sum(s.cache_write_tokens) as cache_write_tokens,
      sum(s.reasoning_tokens) as reasoning_tokens, sum(s.audio_input_tokens) as audio_input_tokens,
      sum(s.audio_output_tokens) as audio_output_tokens, sum(s.requests) as requests, sum(s.cost) as cost
    from unnest(sums) as s
    inner join observability_internal.dimensions as d using (dim_id)
    where s.is_current and s.requests > s.unpriced_requests + s.fallback_requests
    group by d.provider, d.model
    order by sum(s.cost) desc
    limit 200
  ) as k;
$$;

comment on function observability_internal.token_kinds is 'Tokens by kind and cost of the models that have a price.';
revoke execute on function observability_internal.token_kinds from public;
grant execute on function observability_internal.token_kinds to authenticated, service_role;
