-- Figures by route of the product's own HTTP requests.
-- Locks: none; it only creates.

create function observability_internal.route_counts(scope observability_internal.read_scope) returns table (
  bucket_start timestamptz, route_id integer, requests double precision
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_step constant interval := observability_internal.minute_step(scope.bucket);
  v_split observability_internal.range_split;
begin
  v_split := observability_internal.split_range(
    scope.from_time, scope.to_time, scope.cuts, case when v_step is not null then 'minute' else 'day' end
  );
  return query
  with cells as (
    select r.bucket, r.route_id, r.requests from observability_internal.performance_by_day as r
    where r.bucket = any (v_split.days)
    union all
    select r.bucket, r.route_id, r.requests from observability_internal.performance_by_hour as r
    where r.bucket = any (v_split.hours)
    union all
    select r.bucket, r.route_id, r.requests from observability_internal.performance_by_minute as r
    where r.bucket = any (v_split.minutes)
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(scope.bucket, c.bucket, scope.timezone)),
    c.route_id, sum(c.requests)
  from cells as c
  group by 1, 2;
end;
$$;

comment on function observability_internal.route_counts is 'HTTP requests by bucket and route.';
revoke execute on function observability_internal.route_counts from public;
grant execute on function observability_internal.route_counts to authenticated, service_role;

create function observability_internal.route_figures(scope observability_internal.read_scope) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select c.*, d.method || ' ' || d.route as key, d.method, d.route, (d.status_code >= 500 or d.error_type <> '') as is_error
    from observability_internal.route_counts(scope) as c
    inner join observability_internal.route_dimensions as d using (route_id)
    where (scope).environments is null or d.environment = any ((scope).environments)
  ),
  -- A sample may stand for three requests and a third: what they come to is told in whole ones.
  points as (
    select
      c.bucket_start, round(sum(c.requests)) as requests, round(coalesce(sum(c.requests) filter (where c.is_error), 0)) as errors
    from cells as c
    group by c.bucket_start
  ),
  routes as (
    select
      c.key collate "C" as key, c.method, c.route, round(sum(c.requests)) as requests,
      round(coalesce(sum(c.requests) filter (where c.is_error), 0)) as errors
    from cells as c
    group by c.key, c.method, c.route
  ),
  slowest as (
    select r.*, l.latency_p50, l.latency_p90, l.latency_p99
    from routes as r
    left join observability_internal.percentiles(scope, (scope).from_time, (scope).to_time, 'route', false, false) as l using (key)
    order by l.latency_p90 desc nulls last, r.route
    limit (scope).row_limit
  )
  select jsonb_build_object(
    'requests', coalesce((select round(sum(c.requests)) from cells as c), 0),
    'errors', coalesce((select round(sum(c.requests)) from cells as c where c.is_error), 0),
    'latency_ms', (
      select jsonb_build_object(
        'count', coalesce(round(max(l.latency_count)), 0), 'p50', max(l.latency_p50), 'p90', max(l.latency_p90), 'p99', max(l.latency_p99)
      )
      from observability_internal.percentiles(scope, (scope).from_time, (scope).to_time, 'requests', false, false) as l
    ),
    'series', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'bucket_start', p.bucket_start, 'requests', p.requests, 'errors', p.errors, 'latency_p50_ms', l.latency_p50,
        'latency_p90_ms', l.latency_p90, 'latency_p99_ms', l.latency_p99
      ) order by p.bucket_start), '[]')
      from points as p
      left join observability_internal.percentiles(
        scope, (scope).from_time, (scope).to_time, 'requests', true, false
      ) as l using (bucket_start)
    ),
    'by_route', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'key', s.route, 'method', s.method, 'requests', s.requests, 'errors', s.errors, 'latency_p50_ms', s.latency_p50,
        'latency_p90_ms', s.latency_p90, 'latency_p99_ms', s.latency_p99
      ) order by s.latency_p90 desc nulls last, s.route), '[]')
      from slowest as s
    )
  );
$$;

comment on function observability_internal.route_figures is 'HTTP requests of a range: totals, series, and routes, slowest p90 first.';
revoke execute on function observability_internal.route_figures from public;
grant execute on function observability_internal.route_figures to authenticated, service_role;
