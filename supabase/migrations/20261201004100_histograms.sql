-- Latency histograms: logarithmic bins (DDSketch, 1 % relative error) packed into arrays of bigint.
-- Locks: none; it only creates.

-- Histograms follow DDSketch (Masson, Rim, Lee, VLDB 2019): bin i holds (gamma^(i-1), gamma^i] milliseconds with
-- gamma = 1.01 / 0.99, so a value taken as 0.99 * gamma^i is within 1 % of the true one. ln(gamma) is written out where
-- rows are binned: a function of ours with a fixed search path cannot be inlined. Below a microsecond counts as one. A histogram is one
-- real[]: bin, weight, bin, weight …; real holds whole weights exactly up to 16.7 million a bin.
create function observability_internal.histogram_value(bin double precision) returns double precision
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select 0.99 * exp(bin * 0.020000666706669435);
$$;

comment on function observability_internal.histogram_value is 'The duration in ms that stands for a bin, within 1 % of every value in it.';
revoke execute on function observability_internal.histogram_value from public;
grant execute on function observability_internal.histogram_value to authenticated, service_role;

-- An entry is (bin + 400) * 2^44 + weight * 1024: bins from -400 (below a microsecond's -345) up, weights in steps of
-- 1/1024 up to 17 billion. The entries of a histogram come in any order and a bin may occur in several: readers sum by
-- bin. So calls are added by appending, and a histogram is merged only where it grew long.
create function observability_internal.merge_histogram(histogram bigint[]) returns bigint[]
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select array_agg((b.bin << 44) + b.weight::bigint)
  from (
    select e.entry >> 44 as bin, sum((e.entry & 17592186044415)::double precision) as weight
    from (select unnest(histogram) as entry) as e
    group by e.entry >> 44
  ) as b;
$$;

comment on function observability_internal.merge_histogram is 'The same histogram with one entry a bin.';
revoke execute on function observability_internal.merge_histogram from public;
grant execute on function observability_internal.merge_histogram to service_role;

create function observability_internal.subtract_histogram(histogram bigint[], taken bigint[]) returns bigint[]
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select array_agg((b.bin << 44) + b.weight::bigint)
  from (
    select e.entry >> 44 as bin, sum(e.direction * (e.entry & 17592186044415)::double precision) as weight
    from (
      select unnest(histogram) as entry, 1 as direction
      union all
      select unnest(taken), -1
    ) as e
    group by e.entry >> 44
  ) as b
  where b.weight > 0;
$$;

comment on function observability_internal.subtract_histogram is 'A histogram without the calls of another that is a part of it; null when none are left.';
revoke execute on function observability_internal.subtract_histogram from public;
grant execute on function observability_internal.subtract_histogram to service_role;

create function observability_internal.histogram_weight(histogram bigint[]) returns double precision
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select coalesce(sum((e.entry & 17592186044415)::double precision), 0) / 1024 from (select unnest(histogram) as entry) as e;
$$;

comment on function observability_internal.histogram_weight is 'How many calls a histogram holds.';
revoke execute on function observability_internal.histogram_weight from public;
grant execute on function observability_internal.histogram_weight to authenticated, service_role;

create function observability_internal.histogram_quantile(histogram bigint[], quantile double precision)
returns double precision
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  with bins as (
    select e.entry >> 44 as bin, sum((e.entry & 17592186044415)::double precision) / 1024 as weight
    from (select unnest(histogram) as entry) as e
    group by e.entry >> 44
  ),
  ranked as (
    select
      b.bin - 400 as bin, sum(b.weight) over (order by b.bin) as seen,
      greatest(quantile * (sum(b.weight) over () - 1), 0) as rank
    from bins as b
  ),
  ends as (
    select
      min(r.bin) filter (where r.seen > floor(r.rank)) as low,
      coalesce(min(r.bin) filter (where r.seen > ceil(r.rank)), max(r.bin)) as high, min(r.rank) as rank
    from ranked as r
  )
  select
    observability_internal.histogram_value(n.low) + (n.rank - floor(n.rank))
    * (observability_internal.histogram_value(n.high) - observability_internal.histogram_value(n.low))
  from ends as n;
$$;

comment on function observability_internal.histogram_quantile is
'A quantile (0 to 1) in ms, interpolated between order statistics as percentile_cont does, within 1 %; null when '
'empty.';
revoke execute on function observability_internal.histogram_quantile from public;
grant execute on function observability_internal.histogram_quantile to authenticated, service_role;

create function observability_internal.histogram_percentiles(histogram bigint[]) returns double precision[]
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  with bins as (
    select e.entry >> 44 as bin, sum((e.entry & 17592186044415)::double precision) / 1024 as weight
    from (select unnest(histogram) as entry) as e
    group by e.entry >> 44
  ),
  seen as (
    select b.bin - 400 as bin, sum(b.weight) over (order by b.bin) as seen, sum(b.weight) over () as total from bins as b
  ),
  ends as (
    select
      q.quantile, greatest(q.quantile * (s.total - 1), 0) as rank, s.total,
      min(s.bin) filter (where s.seen > floor(greatest(q.quantile * (s.total - 1), 0))) as low,
      coalesce(min(s.bin) filter (where s.seen > ceil(greatest(q.quantile * (s.total - 1), 0))), max(s.bin)) as high
    from seen as s
    cross join (values (0.5::double precision), (0.9), (0.99)) as q (quantile)
    group by q.quantile, s.total
  )
  select array[min(n.total)] || array_agg(
    0.99 * exp(n.low * 0.020000666706669435) + (n.rank - floor(n.rank))
    * 0.99 * (exp(n.high * 0.020000666706669435) - exp(n.low * 0.020000666706669435)) order by n.quantile
  )
  from ends as n
  having count(*) > 0;
$$;

comment on function observability_internal.histogram_percentiles is
'{count, p50, p90, p99}, interpolated between order statistics as percentile_cont does, within 1 %; null when empty.';
revoke execute on function observability_internal.histogram_percentiles from public;
grant execute on function observability_internal.histogram_percentiles to service_role;
