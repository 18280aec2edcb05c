-- Merges histograms and computes their percentiles.
-- Locks: none; it only creates.

create type observability_internal.percentile_row as (
  bucket_start timestamptz,
  key text,
  latency_count double precision,
  latency_p50 double precision,
  latency_p90 double precision,
  latency_p99 double precision,
  first_count double precision,
  first_p50 double precision,
  first_p90 double precision,
  first_p99 double precision
);

comment on type observability_internal.percentile_row is 'Counts and percentiles (ms) of a bucket and key.';

create function observability_internal.bin_figures(codes integer[], weights double precision[])
returns table (histogram integer, total double precision, p50 double precision, p90 double precision, p99 double precision)
language sql
immutable
security invoker
set search_path = ''
as $$
  with seen as (
    select
      b.code / 2048 as histogram, b.code % 2048 as bin,
      sum(b.weight) over (partition by b.code / 2048 order by b.code rows unbounded preceding) as seen
    from unnest(codes, weights) as b (code, weight)
  ),
  -- As percentile_cont does: between the values of rank floor(r) and ceil(r), r = q * (n - 1).
  totals as (
    select
      s.histogram, max(s.seen) as total, greatest(0.5 * (max(s.seen) - 1), 0) as rank50,
      greatest(0.9 * (max(s.seen) - 1), 0) as rank90, greatest(0.99 * (max(s.seen) - 1), 0) as rank99
    from seen as s group by s.histogram
  ),
  ranked as (
    select
      t.histogram, t.total, t.rank50, t.rank90, t.rank99, min(s.bin) filter (where s.seen > floor(t.rank50)) as low50,
      min(s.bin) filter (where s.seen > floor(t.rank90)) as low90, min(s.bin) filter (where s.seen > floor(t.rank99)) as low99,
      coalesce(min(s.bin) filter (where s.seen > ceil(t.rank50)), max(s.bin)) as high50,
      coalesce(min(s.bin) filter (where s.seen > ceil(t.rank90)), max(s.bin)) as high90,
      coalesce(min(s.bin) filter (where s.seen > ceil(t.rank99)), max(s.bin)) as high99
    from totals as t
    inner join seen as s using (histogram)
    group by t.histogram, t.total, t.rank50, t.rank90, t.rank99
  ),
  ends as (
    select
      r.*, 0.99 * exp((r.low50 - 400) * 0.020000666706669435) as p50, 0.99 * exp((r.high50 - 400) * 0.020000666706669435) as after50,
      0.99 * exp((r.low90 - 400) * 0.020000666706669435) as p90, 0.99 * exp((r.high90 - 400) * 0.020000666706669435) as after90,
      0.99 * exp((r.low99 - 400) * 0.020000666706669435) as p99, 0.99 * exp((r.high99 - 400) * 0.020000666706669435) as after99
    from ranked as r
  )
  select
    e.histogram, e.total, e.p50 + (e.rank50 - floor(e.rank50)) * (e.after50 - e.p50),
    e.p90 + (e.rank90 - floor(e.rank90)) * (e.after90 - e.p90), e.p99 + (e.rank99 - floor(e.rank99)) * (e.after99 - e.p99)
  from ends as e;
$$;

comment on function observability_internal.bin_figures is
'Counts and percentiles (ms) of histograms, given as bins: histogram * 2048 + bin, each once, and their weights.';
revoke execute on function observability_internal.bin_figures from public;
grant execute on function observability_internal.bin_figures to authenticated, service_role;

create function observability_internal.merged_percentiles(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text,
  is_bucketed boolean, has_first boolean
) returns setof observability_internal.percentile_row
language sql
stable
security invoker
set search_path = ''
as $$
  with found as materialized (
    select
      coalesce(h.bucket_start, '-infinity') as bucket_start, h.key collate "C" as key, h.latency, h.time_to_first,
      h.latency_percentiles, h.first_percentiles
    from observability_internal.find_histograms(
      scope, merged_percentiles.from_time, merged_percentiles.to_time, key_name, is_bucketed
    ) as h
  ),
  -- Percentiles that are kept are the answer where they are of the only part.
  parts as materialized (
    select
      (row_number() over ())::integer as part, f.bucket_start, f.key,
      case when count(*) = 1 then min(f.latency_percentiles) end as latency_percentiles,
      case when count(*) = 1 then min(f.first_percentiles) end as first_percentiles
    from found as f group by f.bucket_start, f.key
  ),
  merging as materialized (
    select p.part, f.latency, f.time_to_first
    from found as f
    inner join parts as p using (bucket_start, key)
    where num_nulls(p.latency_percentiles, p.first_percentiles) = 2
  ),
  -- One number for part, measure and bin: grouping and sorting by it is what takes the time.
  entries as (
    select m.part * 4096 as code, unnest(m.latency) as entry from merging as m
    union all
    select m.part * 4096 + 2048, unnest(m.time_to_first) from merging as m where has_first
  ),
  bins as (
    select e.code + (e.entry >> 44)::integer as code, sum((e.entry & 17592186044415)::double precision) / 1024 as weight
    from entries as e group by e.code + (e.entry >> 44)::integer
  ),
  merged as (
    select array_agg(b.code) as codes, array_agg(b.weight) as weights from bins as b
  ),
  figures as materialized (
    select f.* from merged as m cross join lateral observability_internal.bin_figures(m.codes, m.weights) as f
  )
  select
    nullif(p.bucket_start, '-infinity'), p.key, coalesce(l.total, p.latency_percentiles[1]),
    coalesce(l.p50, p.latency_percentiles[2]), coalesce(l.p90, p.latency_percentiles[3]),
    coalesce(l.p99, p.latency_percentiles[4]), coalesce(t.total, p.first_percentiles[1]),
    coalesce(t.p50, p.first_percentiles[2]), coalesce(t.p90, p.first_percentiles[3]),
    coalesce(t.p99, p.first_percentiles[4])
  from parts as p
  left join figures as l on l.histogram = p.part * 2
  left join figures as t on t.histogram = p.part * 2 + 1;
$$;

comment on function observability_internal.merged_percentiles is
'Counts and percentiles (ms) by key and bucket; those of the time to first token or byte where has_first.';
revoke execute on function observability_internal.merged_percentiles from public;
grant execute on function observability_internal.merged_percentiles to authenticated, service_role;
