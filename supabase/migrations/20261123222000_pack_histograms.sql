-- Purpose: histograms as one bigint per bin, which hash aggregates take in and give out without sorting.
-- Locks: ACCESS EXCLUSIVE on the rollups while they are rewritten.

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

comment on function observability_internal.merge_histogram(bigint[]) is 'The same histogram with one entry a bin.';

create function observability_internal.histogram_weight(histogram bigint[]) returns double precision
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select coalesce(sum((e.entry & 17592186044415)::double precision), 0) / 1024 from (select unnest(histogram) as entry) as e;
$$;

comment on function observability_internal.histogram_weight(bigint[]) is 'How many calls a histogram holds.';

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

comment on function observability_internal.histogram_quantile(bigint[], double precision) is 'A quantile (0 to 1) in ms, interpolated between order statistics as percentile_cont does, within 1 %; null when empty.';

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

comment on function observability_internal.histogram_percentiles(bigint[]) is '{count, p50, p90, p99}, interpolated between order statistics as percentile_cont does, within 1 %; null when empty.';

create function observability_internal.pack_histogram(histogram real[]) returns bigint[]
language sql
immutable
security invoker
set search_path = ''
as $$
  select array_agg(((histogram[2 * i - 1]::bigint + 400) << 44) + round(histogram[2 * i]::double precision * 1024)::bigint)
  from generate_series(1, cardinality(histogram) / 2) as i;
$$;

alter table observability_internal.usage_by_minute
alter column latency type bigint[] using observability_internal.pack_histogram(latency),
alter column time_to_first_token type bigint[] using observability_internal.pack_histogram(time_to_first_token);

alter table observability_internal.usage_by_hour
alter column latency type bigint[] using observability_internal.pack_histogram(latency),
alter column time_to_first_token type bigint[] using observability_internal.pack_histogram(time_to_first_token);

alter table observability_internal.usage_by_user
alter column latency type bigint[] using observability_internal.pack_histogram(latency),
alter column time_to_first_token type bigint[] using observability_internal.pack_histogram(time_to_first_token);

alter table observability_internal.performance_by_minute
alter column latency type bigint[] using observability_internal.pack_histogram(latency),
alter column time_to_first_byte type bigint[] using observability_internal.pack_histogram(time_to_first_byte);

alter table observability_internal.performance_by_hour
alter column latency type bigint[] using observability_internal.pack_histogram(latency),
alter column time_to_first_byte type bigint[] using observability_internal.pack_histogram(time_to_first_byte);

drop function observability_internal.pack_histogram(real[]);

drop function observability_internal.add_to_histogram(real[], real[]);

drop function observability_internal.merge_histograms(real[], real[]);

drop function observability_internal.histogram_summary(real[]);

drop function observability_internal.histogram_quantile(real[], double precision);

-- Most cells have none of these: a null takes no room and means 0.
alter table observability_internal.usage_by_minute
alter column cached_tokens drop not null,
alter column cache_write_tokens drop not null,
alter column reasoning_tokens drop not null,
alter column audio_input_tokens drop not null,
alter column audio_output_tokens drop not null,
alter column fallback_cost drop not null,
alter column provider_reported_cost drop not null,
alter column unpriced_requests drop not null,
alter column fallback_requests drop not null,
alter column estimated_requests drop not null;

alter table observability_internal.usage_by_hour
alter column cached_tokens drop not null,
alter column cache_write_tokens drop not null,
alter column reasoning_tokens drop not null,
alter column audio_input_tokens drop not null,
alter column audio_output_tokens drop not null,
alter column fallback_cost drop not null,
alter column provider_reported_cost drop not null,
alter column unpriced_requests drop not null,
alter column fallback_requests drop not null,
alter column estimated_requests drop not null;

alter table observability_internal.usage_by_user
alter column cached_tokens drop not null,
alter column cache_write_tokens drop not null,
alter column reasoning_tokens drop not null,
alter column audio_input_tokens drop not null,
alter column audio_output_tokens drop not null,
alter column fallback_cost drop not null,
alter column provider_reported_cost drop not null,
alter column unpriced_requests drop not null,
alter column fallback_requests drop not null,
alter column estimated_requests drop not null;

-- A user's rows are found by user; the rows of a time lie together as they came, which a block range index finds. Of
-- several intervals a range, since a new row may take the room of an old one.
alter table observability_internal.usage_by_user drop constraint usage_by_user_pkey;

drop index observability_internal.usage_by_user_user_key_idx;

alter table observability_internal.usage_by_user
add constraint usage_by_user_pkey primary key (user_key, bucket, dim_id);

create index usage_by_user_bucket_idx on observability_internal.usage_by_user
using brin (bucket timestamptz_minmax_multi_ops) with (pages_per_range = 16, autosummarize = on);

-- The running minute's rows are updated every second: room in their pages keeps the updates there.
alter table observability_internal.usage_by_minute set (fillfactor = 95);

alter table observability_internal.performance_by_minute set (fillfactor = 95);

grant execute on function observability_internal.merge_histogram(bigint[]) to service_role;

grant execute on function observability_internal.histogram_percentiles(bigint[]) to service_role;

grant execute on function observability_internal.histogram_weight(bigint[]) to authenticated, service_role;

grant execute on function observability_internal.histogram_quantile(bigint[], double precision) to authenticated, service_role;
