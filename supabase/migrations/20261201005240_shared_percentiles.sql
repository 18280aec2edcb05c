-- Percentiles that a page asks for several times over, computed in one pass where no merged histograms answer.
-- Locks: none; it only creates.

create function observability_internal.all_percentiles(
  scope observability_internal.read_scope, key_names text[], are_bucketed boolean[]
) returns setof observability_internal.page_percentile
language sql
stable
security invoker
set search_path = ''
as $$
  with cells as materialized (
    select coalesce(h.bucket_start, '-infinity') as bucket_start, d.model, d.feature, h.latency, h.time_to_first
    from observability_internal.call_histograms(scope, (scope).from_time, (scope).to_time, 'dimension', true = any (are_bucketed)) as h
    inner join observability_internal.dimensions as d on h.key::integer = d.dim_id
  ),
  places as materialized (
    select (row_number() over ())::bigint as place, c.bucket_start, c.model, c.feature
    from cells as c
    group by c.bucket_start, c.model, c.feature
  ),
  placed as materialized (
    select p.place, c.latency, c.time_to_first from cells as c inner join places as p using (bucket_start, model, feature)
  ),
  members as materialized (
    select
      p.place, k.key_name, k.is_bucketed, case when k.is_bucketed then p.bucket_start else '-infinity' end as bucket_start,
      case k.key_name when 'model' then p.model when 'feature' then p.feature else '' end as key
    from places as p
    cross join unnest(key_names, are_bucketed) as k (key_name, is_bucketed)
  ),
  parts as materialized (
    select (row_number() over ())::integer as part, m.key_name, m.is_bucketed, m.bucket_start, m.key
    from members as m
    group by m.key_name, m.is_bucketed, m.bucket_start, m.key
  ),
  entries as (
    select p.place * 4096 as code, unnest(p.latency) as entry from placed as p
    union all
    select p.place * 4096 + 2048, unnest(p.time_to_first) from placed as p
  ),
  -- All entries once, by what all parts are made of; these bins, far fewer, once for each part.
  bins as materialized (
    select e.code + (e.entry >> 44) as code, sum((e.entry & 17592186044415)::double precision) / 1024 as weight
    from entries as e group by e.code + (e.entry >> 44)
  ),
  shared as (
    select p.part * 4096 + (b.code % 4096)::integer as code, sum(b.weight) as weight
    from bins as b
    inner join members as m on b.code / 4096 = m.place
    inner join parts as p using (key_name, is_bucketed, bucket_start, key)
    group by p.part * 4096 + (b.code % 4096)::integer
  ),
  merged as (
    select array_agg(s.code) as codes, array_agg(s.weight) as weights from shared as s
  ),
  figures as materialized (
    select f.* from merged as m cross join lateral observability_internal.bin_figures(m.codes, m.weights) as f
  )
  select
    p.key_name, p.is_bucketed, nullif(p.bucket_start, '-infinity'), p.key, l.total, l.p50, l.p90, l.p99, t.total, t.p50, t.p90, t.p99
  from parts as p
  left join figures as l on l.histogram = p.part * 2
  left join figures as t on t.histogram = p.part * 2 + 1;
$$;

comment on function observability_internal.all_percentiles is
'Counts and percentiles of the period by each of some keys (total, model, feature), by bucket or not, from one reading.';
revoke execute on function observability_internal.all_percentiles from public;
grant execute on function observability_internal.all_percentiles to authenticated, service_role;

create function observability_internal.share_percentiles(
  scope observability_internal.read_scope, key_names text[], are_bucketed boolean[]
) returns observability_internal.page_percentile[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  -- Of users, tenants and tags only those with many calls have merged histograms.
  v_is_kept constant boolean := not scope.by_user or exists (
    select from observability_internal.latency_by_user as r where r.user_key = any (scope.user_keys)
  );
  v_names text[];
  v_are_bucketed boolean[];
begin
  select array_agg(k.key_name), array_agg(k.is_bucketed) into v_names, v_are_bucketed
  from unnest(key_names, are_bucketed) as k (key_name, is_bucketed)
  where not v_is_kept or observability_internal.histogram_kind(scope, k.key_name, k.is_bucketed) is null;
  if coalesce(cardinality(v_names), 0) < 2 then
    return null;
  end if;
  return array(select observability_internal.all_percentiles(scope, v_names, v_are_bucketed));
end;
$$;

comment on function observability_internal.share_percentiles is
'Percentiles that no merged histograms answer, where there are two or more of them; else null.';
revoke execute on function observability_internal.share_percentiles from public;
grant execute on function observability_internal.share_percentiles to authenticated, service_role;

create function observability_internal.percentiles(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text,
  is_bucketed boolean, has_first boolean
) returns setof observability_internal.percentile_row
language plpgsql
stable
security invoker
set search_path = ''
rows 100
as $$
begin
  if percentiles.from_time = scope.from_time then
    return query
    select
      p.bucket_start, p.key collate "C", p.latency_count, p.latency_p50, p.latency_p90, p.latency_p99, p.first_count,
      p.first_p50, p.first_p90, p.first_p99
    from unnest(scope.percentiles) as p
    where p.key_name = percentiles.key_name and p.is_bucketed = percentiles.is_bucketed;
    if found then
      return;
    end if;
  end if;
  return query select * from observability_internal.merged_percentiles(
    scope, percentiles.from_time, percentiles.to_time, key_name, is_bucketed, has_first
  );
end;
$$;

comment on function observability_internal.percentiles is
'Counts and percentiles (ms) by key and bucket; those of the time to first token or byte where has_first.';
revoke execute on function observability_internal.percentiles from public;
grant execute on function observability_internal.percentiles to authenticated, service_role;
