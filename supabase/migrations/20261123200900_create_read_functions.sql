-- Purpose: one read function per page: a range and filters in, one jsonb document out. Costs travel as exact text.
-- Locks: none. Compiling a query (jit) costs a page a second and saves it nothing: off in each function.

create function observability_internal.count_users(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns bigint
language sql
stable
security invoker
set search_path = ''
as $$
  select count(distinct r.user_key)
  from observability_internal.usage_by_user as r
  where r.bucket >= date_bin('15 minutes', count_users.from_time, '2000-01-01 00:00:00+00')
    and r.bucket < count_users.to_time
    and ((scope).user_keys is null or r.user_key = any ((scope).user_keys))
    and ((scope).dims is null or r.dim_id = any ((scope).dims));
$$;

comment on function observability_internal.count_users(observability_internal.read_scope, timestamptz, timestamptz) is 'Distinct users of a range; its start counts from the quarter of an hour.';

create function observability_internal.usage_totals(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select (c.cell).* from observability_internal.usage_cells(scope, usage_totals.from_time, usage_totals.to_time) as c
  ),
  bins as (
    select measure.name, pairs.bin, sum(pairs.weight)::real as weight
    from cells as c
    cross join lateral (values ('latency', c.latency), ('first_token', c.time_to_first_token)) as measure (name, histogram)
    cross join lateral (
      select measure.histogram[2 * i - 1] as bin, measure.histogram[2 * i] as weight
      from generate_series(1, cardinality(measure.histogram) / 2) as i
    ) as pairs
    group by measure.name, pairs.bin
  ),
  histograms as (
    select
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'latency') as latency,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'first_token') as first_token
    from bins as b
    cross join lateral (values (1, b.bin), (2, b.weight)) as pair (position, entry)
  )
  select jsonb_build_object(
    'requests', coalesce(sum(c.requests), 0), 'prompt_tokens', coalesce(sum(c.prompt_tokens), 0),
    'completion_tokens', coalesce(sum(c.completion_tokens), 0),
    'total_tokens', coalesce(sum(c.prompt_tokens + c.completion_tokens), 0),
    'cached_tokens', coalesce(sum(c.cached_tokens), 0), 'cache_write_tokens', coalesce(sum(c.cache_write_tokens), 0),
    'reasoning_tokens', coalesce(sum(c.reasoning_tokens), 0),
    'audio_input_tokens', coalesce(sum(c.audio_input_tokens), 0),
    'audio_output_tokens', coalesce(sum(c.audio_output_tokens), 0),
    'errors', coalesce(sum(c.requests) filter (where d.status = 'error'), 0),
    'cancelled', coalesce(sum(c.requests) filter (where d.status = 'cancelled'), 0),
    'cost', case when sum(c.requests) > sum(c.unpriced_requests) then sum(c.cost)::text end,
    'fallback_cost', coalesce(sum(c.fallback_cost), 0)::text,
    'provider_reported_cost', coalesce(sum(c.provider_reported_cost), 0)::text,
    'unpriced_requests', coalesce(sum(c.unpriced_requests), 0),
    'fallback_requests', coalesce(sum(c.fallback_requests), 0),
    'estimated_requests', coalesce(sum(c.estimated_requests), 0),
    'latency_ms', observability_internal.histogram_summary((select h.latency from histograms as h)),
    'time_to_first_token_ms', observability_internal.histogram_summary((select h.first_token from histograms as h))
  )
  from cells as c
  inner join observability_internal.dimensions as d using (dim_id);
$$;

comment on function observability_internal.usage_totals(observability_internal.read_scope, timestamptz, timestamptz) is 'Requests, tokens, cost, shares and percentiles of a range.';

create function observability_internal.usage_series(scope observability_internal.read_scope, group_by text) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select c.bucket_start, c.user_key, (c.cell).*
    from observability_internal.usage_cells(scope, (scope).from_time, (scope).to_time) as c
  ),
  keyed as materialized (
    select
      c.*, d.status,
      case usage_series.group_by
        when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
        when 'environment' then d.environment when 'operation' then d.operation when 'status' then d.status
        when 'user_id' then u.user_id
      end as key
    from cells as c
    inner join observability_internal.dimensions as d using (dim_id)
    left join observability_internal.users as u on usage_series.group_by = 'user_id' and c.user_key = u.user_key
  ),
  -- The eight keys that cost most keep their name, by requests where nothing has a cost; the rest is one line.
  kept as (
    select k.key from keyed as k
    group by k.key
    order by sum(k.cost) desc, sum(k.requests) desc, k.key
    limit 8
  ),
  named as (
    select k.*, case when kept.key is null then null else k.key end as shown_key
    from keyed as k
    left join kept on k.key = kept.key
  ),
  points as (
    select
      n.bucket_start, n.shown_key, sum(n.requests) as requests, sum(n.prompt_tokens) as prompt_tokens,
      sum(n.completion_tokens) as completion_tokens, sum(n.cached_tokens) as cached_tokens,
      sum(n.reasoning_tokens) as reasoning_tokens, sum(n.cost) as cost, sum(n.unpriced_requests) as unpriced_requests,
      coalesce(sum(n.requests) filter (where n.status = 'error'), 0) as errors
    from named as n
    group by n.bucket_start, n.shown_key
  )
  select coalesce(jsonb_agg(
    jsonb_build_object(
      'bucket_start', p.bucket_start, 'key', p.shown_key,
      'is_other', usage_series.group_by is not null and p.shown_key is null, 'requests', p.requests,
      'prompt_tokens', p.prompt_tokens, 'completion_tokens', p.completion_tokens,
      'total_tokens', p.prompt_tokens + p.completion_tokens, 'cached_tokens', p.cached_tokens,
      'reasoning_tokens', p.reasoning_tokens, 'errors', p.errors,
      'cost', case when p.requests > p.unpriced_requests then p.cost::text end
    ) order by p.bucket_start, p.shown_key nulls last
  ), '[]')
  from points as p;
$$;

comment on function observability_internal.usage_series(observability_internal.read_scope, text) is 'Points by bucket and, where group_by is given, key (top 8, the rest as key null).';

create function observability_internal.latency_series(scope observability_internal.read_scope) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select c.bucket_start, (c.cell).*
    from observability_internal.usage_cells(scope, (scope).from_time, (scope).to_time) as c
  ),
  counts as (
    select
      c.bucket_start, sum(c.requests) as requests,
      coalesce(sum(c.requests) filter (where d.status = 'error'), 0) as errors,
      sum(c.prompt_tokens + c.completion_tokens) as total_tokens,
      case when sum(c.requests) > sum(c.unpriced_requests) then sum(c.cost)::text end as cost
    from cells as c
    inner join observability_internal.dimensions as d using (dim_id)
    group by c.bucket_start
  ),
  bins as (
    select c.bucket_start, measure.name, pairs.bin, sum(pairs.weight)::real as weight
    from cells as c
    cross join lateral (values ('latency', c.latency), ('first_token', c.time_to_first_token)) as measure (name, histogram)
    cross join lateral (
      select measure.histogram[2 * i - 1] as bin, measure.histogram[2 * i] as weight
      from generate_series(1, cardinality(measure.histogram) / 2) as i
    ) as pairs
    group by c.bucket_start, measure.name, pairs.bin
  ),
  histograms as (
    select
      b.bucket_start,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'latency') as latency,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'first_token') as first_token
    from bins as b
    cross join lateral (values (1, b.bin), (2, b.weight)) as pair (position, entry)
    group by b.bucket_start
  )
  select coalesce(jsonb_agg(
    jsonb_build_object(
      'bucket_start', n.bucket_start, 'requests', n.requests, 'errors', n.errors, 'total_tokens', n.total_tokens,
      'cost', n.cost,
      'latency_p50_ms', observability_internal.histogram_quantile(h.latency, 0.5),
      'latency_p90_ms', observability_internal.histogram_quantile(h.latency, 0.9),
      'latency_p99_ms', observability_internal.histogram_quantile(h.latency, 0.99),
      'time_to_first_token_p50_ms', observability_internal.histogram_quantile(h.first_token, 0.5),
      'time_to_first_token_p90_ms', observability_internal.histogram_quantile(h.first_token, 0.9),
      'time_to_first_token_p99_ms', observability_internal.histogram_quantile(h.first_token, 0.99)
    ) order by n.bucket_start
  ), '[]')
  from counts as n
  left join histograms as h using (bucket_start);
$$;

comment on function observability_internal.latency_series(observability_internal.read_scope) is 'Requests, errors, tokens, cost and percentiles (ms) by bucket.';

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

create function observability_internal.rank_rows(entries observability_internal.breakdown_row[], row_limit integer) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  with ranked as (
    select
      e.*,
      row_number() over (partition by e.dimension order by e.cost desc nulls last, e.requests desc, e.key) as place
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

comment on function observability_internal.rank_rows(observability_internal.breakdown_row[], integer) is 'The costliest rows of each dimension and one row for the others, as {dimension: [row]}.';

create function observability_internal.usage_breakdown(scope observability_internal.read_scope, dimensions text[]) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select true as is_current, (c.cell).*
    from observability_internal.usage_cells(scope, (scope).from_time, (scope).to_time) as c
    union all
    select false, (c.cell).*
    from observability_internal.usage_cells(scope, (scope).previous_from, (scope).from_time) as c
  ),
  by_dim as materialized (
    select
      c.dim_id, sum(c.requests) filter (where c.is_current) as requests,
      sum(c.prompt_tokens) filter (where c.is_current) as prompt_tokens,
      sum(c.completion_tokens) filter (where c.is_current) as completion_tokens,
      sum(c.cached_tokens) filter (where c.is_current) as cached_tokens,
      sum(c.cost) filter (where c.is_current) as cost,
      sum(c.unpriced_requests) filter (where c.is_current) as unpriced_requests,
      sum(c.cost) filter (where not c.is_current) as previous_cost,
      sum(c.requests - c.unpriced_requests) filter (where not c.is_current) as previous_priced_requests
    from cells as c
    group by c.dim_id
  ),
  keyed as (
    select
      names.dimension, names.key, sum(b.requests) as requests, sum(b.prompt_tokens) as prompt_tokens,
      sum(b.completion_tokens) as completion_tokens, sum(b.cached_tokens) as cached_tokens, sum(b.cost) as cost,
      sum(b.unpriced_requests) as unpriced_requests, sum(b.previous_cost) as previous_cost,
      sum(b.previous_priced_requests) as previous_priced_requests,
      sum(b.requests) filter (where d.status = 'error') as errors
    from by_dim as b
    inner join observability_internal.dimensions as d using (dim_id)
    cross join lateral (
      values ('model', d.model), ('feature', d.feature), ('provider', d.provider), ('environment', d.environment),
      ('operation', d.operation), ('status', d.status)
    ) as names (dimension, key)
    where names.dimension = any (usage_breakdown.dimensions)
    group by names.dimension, names.key
  )
  select observability_internal.rank_rows(
    array(select row(k.*)::observability_internal.breakdown_row from keyed as k where k.requests > 0), (scope).row_limit
  );
$$;

comment on function observability_internal.usage_breakdown(observability_internal.read_scope, text[]) is 'Rows by the values of each dimension, the period before beside them.';

create function observability_internal.user_breakdown(scope observability_internal.read_scope) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with rows as materialized (
    select r.*, r.bucket >= date_bin('15 minutes', (scope).from_time, '2000-01-01 00:00:00+00') as is_current
    from observability_internal.usage_by_user as r
    where r.bucket >= date_bin('15 minutes', (scope).previous_from, '2000-01-01 00:00:00+00')
      and r.bucket < (scope).to_time
      and ((scope).user_keys is null or r.user_key = any ((scope).user_keys))
      and ((scope).dims is null or r.dim_id = any ((scope).dims))
  ),
  keyed as (
    select
      'user' as dimension, u.user_id as key, sum(r.requests) filter (where r.is_current) as requests,
      sum(r.prompt_tokens) filter (where r.is_current) as prompt_tokens,
      sum(r.completion_tokens) filter (where r.is_current) as completion_tokens,
      sum(r.cached_tokens) filter (where r.is_current) as cached_tokens,
      sum(r.cost) filter (where r.is_current) as cost,
      sum(r.unpriced_requests) filter (where r.is_current) as unpriced_requests,
      sum(r.cost) filter (where not r.is_current) as previous_cost,
      sum(r.requests - r.unpriced_requests) filter (where not r.is_current) as previous_priced_requests,
      sum(r.requests) filter (where r.is_current and d.status = 'error') as errors
    from rows as r
    inner join observability_internal.users as u using (user_key)
    inner join observability_internal.dimensions as d using (dim_id)
    group by u.user_id
  )
  select coalesce(observability_internal.rank_rows(
    array(select row(k.*)::observability_internal.breakdown_row from keyed as k where k.requests > 0), (scope).row_limit
  ) -> 'user', '[]');
$$;

comment on function observability_internal.user_breakdown(observability_internal.read_scope) is 'Rows by user; the range counts from the quarter of an hour in which it begins.';

create function observability_internal.latency_breakdown(scope observability_internal.read_scope, dimensions text[]) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select (c.cell).*, d.status, names.dimension, names.key
    from observability_internal.usage_cells(scope, (scope).from_time, (scope).to_time) as c
    inner join observability_internal.dimensions as d on (c.cell).dim_id = d.dim_id
    cross join lateral (
      values ('model', d.model), ('feature', d.feature), ('provider', d.provider), ('operation', d.operation)
    ) as names (dimension, key)
    where names.dimension = any (latency_breakdown.dimensions)
  ),
  counts as (
    select
      c.dimension, c.key, sum(c.requests) as requests,
      coalesce(sum(c.requests) filter (where c.status = 'error'), 0) as errors
    from cells as c
    group by c.dimension, c.key
  ),
  bins as (
    select c.dimension, c.key, measure.name, pairs.bin, sum(pairs.weight)::real as weight
    from cells as c
    cross join lateral (values ('latency', c.latency), ('first_token', c.time_to_first_token)) as measure (name, histogram)
    cross join lateral (
      select measure.histogram[2 * i - 1] as bin, measure.histogram[2 * i] as weight
      from generate_series(1, cardinality(measure.histogram) / 2) as i
    ) as pairs
    group by c.dimension, c.key, measure.name, pairs.bin
  ),
  histograms as (
    select
      b.dimension, b.key,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'latency') as latency,
      array_agg(pair.entry order by b.bin, pair.position) filter (where b.name = 'first_token') as first_token
    from bins as b
    cross join lateral (values (1, b.bin), (2, b.weight)) as pair (position, entry)
    group by b.dimension, b.key
  ),
  ranked as (
    select n.*, row_number() over (partition by n.dimension order by n.requests desc, n.key) as place from counts as n
  ),
  lists as (
    select
      r.dimension,
      jsonb_agg(jsonb_build_object(
        'key', r.key, 'requests', r.requests, 'errors', r.errors,
        'latency_p50_ms', observability_internal.histogram_quantile(h.latency, 0.5),
        'latency_p90_ms', observability_internal.histogram_quantile(h.latency, 0.9),
        'latency_p99_ms', observability_internal.histogram_quantile(h.latency, 0.99),
        'time_to_first_token_p50_ms', observability_internal.histogram_quantile(h.first_token, 0.5),
        'time_to_first_token_p90_ms', observability_internal.histogram_quantile(h.first_token, 0.9),
        'time_to_first_token_p99_ms', observability_internal.histogram_quantile(h.first_token, 0.99)
      ) order by r.place) as rows
    from ranked as r
    left join histograms as h using (dimension, key)
    where r.place <= (scope).row_limit
    group by r.dimension
  )
  select coalesce(jsonb_object_agg(l.dimension, l.rows), '{}') from lists as l;
$$;

comment on function observability_internal.latency_breakdown(observability_internal.read_scope, text[]) is 'Requests, errors and percentiles (ms) by the values of each dimension, busiest first.';

create function observability_internal.errors_by_type(scope observability_internal.read_scope) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('error_type', t.error_type, 'requests', t.requests) order by t.requests desc, t.error_type), '[]')
  from (
    select coalesce(nullif(d.error_type, ''), 'unknown') as error_type, sum((c.cell).requests) as requests
    from observability_internal.usage_cells(scope, (scope).from_time, (scope).to_time) as c
    inner join observability_internal.dimensions as d on (c.cell).dim_id = d.dim_id
    where d.status = 'error'
    group by coalesce(nullif(d.error_type, ''), 'unknown')
    order by requests desc
    limit 50
  ) as t;
$$;

comment on function observability_internal.errors_by_type(observability_internal.read_scope) is 'Failed calls by error type, most frequent first.';

create function observability_internal.route_cells(scope observability_internal.read_scope) returns table (
  bucket_start timestamptz, route_id integer, requests double precision, latency real[]
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_step constant interval := observability_internal.minute_step(scope.bucket);
begin
  if v_step is not null then
    return query
    select
      date_bin(v_step, r.bucket, '2000-01-01 00:00:00+00'), r.route_id, r.requests, r.latency
    from observability_internal.performance_by_minute as r
    where r.bucket >= scope.from_time and r.bucket < scope.to_time;
  else
    return query
    select
      date_trunc(scope.bucket, r.bucket, scope.timezone), r.route_id, r.requests, r.latency
    from observability_internal.performance_by_hour as r
    where r.bucket >= scope.from_time and r.bucket < scope.to_time and r.bucket <> all (scope.broken_hours)
    union all
    select
      date_trunc(scope.bucket, r.bucket, scope.timezone), r.route_id, r.requests, r.latency
    from unnest(scope.broken_hours) as broken (hour)
    inner join observability_internal.performance_by_minute as r
      on r.bucket >= broken.hour and r.bucket < broken.hour + interval '1 hour'
    where r.bucket >= scope.from_time and r.bucket < scope.to_time;
  end if;
end;
$$;

comment on function observability_internal.route_cells(observability_internal.read_scope) is 'The rollup rows of HTTP requests of a range, from the coarsest level whose rows no boundary cuts.';

create function observability_internal.route_figures(scope observability_internal.read_scope) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select c.*, d.method, d.route, (d.status_code >= 500 or d.error_type <> '') as is_error
    from observability_internal.route_cells(scope) as c
    inner join observability_internal.route_dimensions as d using (route_id)
    where (scope).environments is null or d.environment = any ((scope).environments)
  ),
  -- One pass for the total, each bucket and each route.
  counts as (
    select
      grouping(c.bucket_start, c.route) as grouping_id, c.bucket_start, c.method, c.route, sum(c.requests) as requests,
      coalesce(sum(c.requests) filter (where c.is_error), 0) as errors
    from cells as c
    group by grouping sets ((), (c.bucket_start), (c.method, c.route))
  ),
  bins as (
    select
      grouping(c.bucket_start, c.route) as grouping_id, c.bucket_start, c.method, c.route, pairs.bin,
      sum(pairs.weight)::real as weight
    from cells as c
    cross join lateral (
      select c.latency[2 * i - 1] as bin, c.latency[2 * i] as weight
      from generate_series(1, cardinality(c.latency) / 2) as i
    ) as pairs
    group by grouping sets ((pairs.bin), (pairs.bin, c.bucket_start), (pairs.bin, c.method, c.route))
  ),
  histograms as (
    select
      b.grouping_id, b.bucket_start, b.method, b.route, array_agg(pair.entry order by b.bin, pair.position) as latency
    from bins as b
    cross join lateral (values (1, b.bin), (2, b.weight)) as pair (position, entry)
    group by b.grouping_id, b.bucket_start, b.method, b.route
  ),
  figures as (
    select
      n.*, h.latency, observability_internal.histogram_quantile(h.latency, 0.5) as p50,
      observability_internal.histogram_quantile(h.latency, 0.9) as p90,
      observability_internal.histogram_quantile(h.latency, 0.99) as p99
    from counts as n
    left join histograms as h
      on n.grouping_id = h.grouping_id and n.bucket_start is not distinct from h.bucket_start
      and n.method is not distinct from h.method and n.route is not distinct from h.route
  ),
  slowest as (
    select f.* from figures as f where f.grouping_id = 2 order by f.p90 desc nulls last, f.route limit (scope).row_limit
  )
  select jsonb_build_object(
    'requests', coalesce((select f.requests from figures as f where f.grouping_id = 3), 0),
    'errors', coalesce((select f.errors from figures as f where f.grouping_id = 3), 0),
    'latency_ms', observability_internal.histogram_summary((select f.latency from figures as f where f.grouping_id = 3)),
    'series', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'bucket_start', f.bucket_start, 'requests', f.requests, 'errors', f.errors, 'latency_p50_ms', f.p50,
        'latency_p90_ms', f.p90, 'latency_p99_ms', f.p99
      ) order by f.bucket_start), '[]')
      from figures as f where f.grouping_id = 1
    ),
    'by_route', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'key', s.route, 'method', s.method, 'requests', s.requests, 'errors', s.errors, 'latency_p50_ms', s.p50,
        'latency_p90_ms', s.p90, 'latency_p99_ms', s.p99
      ) order by s.p90 desc nulls last, s.route), '[]')
      from slowest as s
    )
  );
$$;

comment on function observability_internal.route_figures(observability_internal.read_scope) is 'HTTP requests of a range: totals, series, and routes, slowest p90 first.';

-- Security definer: the queue is nobody's to read; its length is shown to those who may see all rows.
create function observability_internal.pending_rows() returns bigint
language sql
stable
security definer
set search_path = ''
as $$
  select case when observability_internal.access_level() in ('analyst', 'ops', 'service')
    then coalesce((select sum(p.row_count) from observability_internal.pending_batches as p), 0) else 0 end;
$$;

comment on function observability_internal.pending_rows() is 'Rows stored but not yet rolled up; 0 for members.';

create function observability_internal.page_head(scope observability_internal.read_scope) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'access', case when (scope).access = 'service' then 'ops' else (scope).access end,
    'from_time', (scope).from_time, 'to_time', (scope).to_time, 'bucket', (scope).bucket,
    'timezone', (scope).timezone, 'generated_at', clock_timestamp(),
    'newest_event_at', case
      when (scope).access = 'member' then (
        select max(r.bucket) from observability_internal.usage_by_user as r where r.user_key = any ((scope).user_keys)
      )
      else (select max(r.bucket) from observability_internal.usage_by_minute as r)
    end,
    'pending_rows', observability_internal.pending_rows(),
    'has_demo_data', exists (select from observability_internal.dimensions as d where d.environment = 'demo'),
    'options', (
      select jsonb_build_object(
        'models', coalesce(jsonb_agg(distinct d.model), '[]'), 'providers', coalesce(jsonb_agg(distinct d.provider), '[]'),
        'features', coalesce(jsonb_agg(distinct d.feature), '[]'),
        'environments', coalesce(jsonb_agg(distinct d.environment), '[]'),
        'operations', coalesce(jsonb_agg(distinct d.operation), '[]')
      )
      from observability_internal.dimensions as d
    ),
    'totals', observability_internal.usage_totals(scope, (scope).from_time, (scope).to_time)
      || jsonb_build_object('users', observability_internal.count_users(scope, (scope).from_time, (scope).to_time)),
    'previous', observability_internal.usage_totals(scope, (scope).previous_from, (scope).from_time)
      || jsonb_build_object('users', observability_internal.count_users(scope, (scope).previous_from, (scope).from_time))
  );
$$;

comment on function observability_internal.page_head(observability_internal.read_scope) is 'What every page shows: access, range, freshness, filter options, totals and those of the period before.';

create function observability_internal.spent_since(unit text, filters jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_timezone constant text := coalesce(filters ->> 'timezone', 'UTC');
  v_scope observability_internal.read_scope;
  v_totals jsonb;
begin
  v_scope := observability_internal.make_scope(
    date_trunc(unit, now(), v_timezone), now() + interval '1 minute', filters || '{"bucket": "day"}'
  );
  v_totals := observability_internal.usage_totals(v_scope, v_scope.from_time, v_scope.to_time);
  return jsonb_build_object(
    'from_time', v_scope.from_time, 'requests', v_totals -> 'requests', 'total_tokens', v_totals -> 'total_tokens',
    'cost', v_totals -> 'cost'
  );
end;
$$;

comment on function observability_internal.spent_since(text, jsonb) is 'Requests, tokens and cost since the local day or month began.';

create function observability_internal.scope_for_group(scope observability_internal.read_scope)
returns observability_internal.read_scope
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  if scope.group_by = 'user_id' and not scope.by_user then
    scope.by_user := true;
    if scope.bucket in ('minute', '5 minutes') then
      scope.bucket := '15 minutes';
    end if;
    scope.from_time := date_bin('15 minutes', scope.from_time, '2000-01-01 00:00:00+00');
  end if;
  return scope;
end;
$$;

comment on function observability_internal.scope_for_group(observability_internal.read_scope) is 'Grouping by user reads the rollup of users, in quarters of an hour.';

create function observability.get_overview(from_time timestamptz, to_time timestamptz, filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
declare
  v_scope constant observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_rows constant jsonb := observability_internal.usage_breakdown(v_scope, '{model,feature}');
begin
  return observability_internal.page_head(v_scope) || jsonb_build_object(
    'today', observability_internal.spent_since('day', filters),
    'month', observability_internal.spent_since('month', filters),
    'series', observability_internal.latency_series(v_scope),
    'top_models', coalesce(v_rows -> 'model', '[]'), 'top_features', coalesce(v_rows -> 'feature', '[]'),
    'top_users', observability_internal.user_breakdown(v_scope),
    'firing_alerts', case when v_scope.access <> 'member' then (
      select count(*) from observability.alerts as a where a.state = 'firing'
    ) end
  );
end;
$$;

comment on function observability.get_overview(timestamptz, timestamptz, jsonb) is 'The Overview page: head, today, month, series, top models, features and users, firing alerts (null for members).';

create function observability.get_usage(from_time timestamptz, to_time timestamptz, filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_rows constant jsonb := observability_internal.usage_breakdown(v_scope, '{model,feature,operation,status}');
begin
  return observability_internal.page_head(v_scope) || jsonb_build_object(
    'series', observability_internal.usage_series(observability_internal.scope_for_group(v_scope), v_scope.group_by),
    'by_model', coalesce(v_rows -> 'model', '[]'), 'by_feature', coalesce(v_rows -> 'feature', '[]'),
    'by_operation', coalesce(v_rows -> 'operation', '[]'), 'by_status', coalesce(v_rows -> 'status', '[]'),
    'by_user', observability_internal.user_breakdown(v_scope)
  );
end;
$$;

comment on function observability.get_usage(timestamptz, timestamptz, jsonb) is 'The Usage page: head, series by group_by, rows by model, feature, operation, status and user.';

create function observability.get_costs(from_time timestamptz, to_time timestamptz, filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
declare
  v_scope observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_rows constant jsonb := observability_internal.usage_breakdown(v_scope, '{model,feature,provider,environment}');
begin
  return observability_internal.page_head(v_scope) || jsonb_build_object(
    'series', observability_internal.usage_series(observability_internal.scope_for_group(v_scope), v_scope.group_by),
    'by_model', coalesce(v_rows -> 'model', '[]'), 'by_feature', coalesce(v_rows -> 'feature', '[]'),
    'by_provider', coalesce(v_rows -> 'provider', '[]'), 'by_environment', coalesce(v_rows -> 'environment', '[]'),
    'by_user', observability_internal.user_breakdown(v_scope)
  );
end;
$$;

comment on function observability.get_costs(timestamptz, timestamptz, jsonb) is 'The Costs page: head, series by group_by, rows by model, feature, provider, environment and user.';

create function observability.get_performance(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
declare
  v_scope constant observability_internal.read_scope := observability_internal.make_scope(from_time, to_time, filters);
  v_rows constant jsonb := observability_internal.latency_breakdown(v_scope, '{model,feature}');
begin
  return observability_internal.page_head(v_scope) || jsonb_build_object(
    'series', observability_internal.latency_series(v_scope),
    'by_model', coalesce(v_rows -> 'model', '[]'), 'by_feature', coalesce(v_rows -> 'feature', '[]'),
    'errors_by_type', observability_internal.errors_by_type(v_scope),
    'routes', case when v_scope.access <> 'member' then observability_internal.route_figures(v_scope) end
  );
end;
$$;

comment on function observability.get_performance(timestamptz, timestamptz, jsonb) is 'The Performance page: head, percentiles by bucket, model and feature, errors by type, routes (null for members).';

create function observability.get_events(from_time timestamptz, to_time timestamptz, filters jsonb default '{}') returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
as $$
declare
  v_access constant text := observability_internal.require_access('{member,analyst,ops,service}');
  v_limit constant integer := coalesce(filters ->> 'limit', '100')::integer;
  v_cursor constant text[] := string_to_array(filters ->> 'cursor', '|');
  v_provider constant text[] := observability_internal.filter_values(filters, 'provider');
  v_model constant text[] := observability_internal.filter_values(filters, 'model');
  v_feature constant text[] := observability_internal.filter_values(filters, 'feature');
  v_environment constant text[] := observability_internal.filter_values(filters, 'environment');
  v_operation constant text[] := observability_internal.filter_values(filters, 'operation');
  v_status constant text[] := observability_internal.filter_values(filters, 'status');
  v_users text[] := observability_internal.filter_values(filters, 'user_id');
  v_events jsonb;
  v_count integer;
  v_last text;
begin
  perform observability_internal.check_filters(from_time, to_time, filters);
  if v_cursor is not null and (cardinality(v_cursor) <> 2 or filters ->> 'cursor' !~ '^[^|]+\|[0-9a-f-]{36}$') then
    raise exception 'the cursor is not one that get_events returned' using errcode = '22023';
  end if;
  if v_access = 'member' then
    v_users := array[auth.jwt() ->> 'sub'];
  end if;
  with page as (
    select m.*
    from observability.ai_usage_metrics as m
    where m.created_at >= get_events.from_time and m.created_at < get_events.to_time
      and (v_cursor is null or (m.created_at, m.event_id) < (v_cursor[1]::timestamptz, v_cursor[2]::uuid))
      and (v_provider is null or m.provider = any (v_provider)) and (v_model is null or m.model = any (v_model))
      and (v_feature is null or coalesce(m.feature, '') = any (v_feature))
      and (v_environment is null or m.environment = any (v_environment))
      and (v_operation is null or m.operation = any (v_operation)) and (v_status is null or m.status = any (v_status))
      and (v_users is null or m.user_id = any (v_users))
    order by m.created_at desc, m.event_id desc
    limit v_limit
  )
  select
    coalesce(jsonb_agg((to_jsonb(p) - 'batch_id') || jsonb_build_object(
      'estimated_cost', p.estimated_cost::text, 'provider_cost', p.provider_cost::text,
      'request_fees', p.request_fees::text
    ) order by p.created_at desc, p.event_id desc), '[]'),
    count(*),
    (array_agg(to_char(p.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|' || p.event_id
      order by p.created_at, p.event_id))[1]
  into v_events, v_count, v_last
  from page as p;
  return jsonb_build_object(
    'access', case when v_access = 'service' then 'ops' else v_access end, 'events', v_events,
    'next_cursor', case when v_count = v_limit then v_last end
  );
end;
$$;

comment on function observability.get_events(timestamptz, timestamptz, jsonb) is 'Raw calls, newest first, by keyset pages: {access, events, next_cursor}; limit 1 to 1000.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure
    from pg_catalog.pg_proc as p
    where (p.pronamespace = 'observability'::regnamespace
      and p.proname in ('get_overview', 'get_usage', 'get_costs', 'get_performance', 'get_events'))
      or (p.pronamespace = 'observability_internal'::regnamespace
      and p.proname in (
        'count_users', 'usage_totals', 'usage_series', 'latency_series', 'usage_breakdown', 'rank_rows',
        'user_breakdown', 'latency_breakdown', 'errors_by_type', 'route_cells', 'route_figures', 'pending_rows',
        'page_head', 'spent_since', 'scope_for_group'
      ))
  loop
    execute format('grant execute on function %s to authenticated, service_role', v_function);
  end loop;
end;
$$;
