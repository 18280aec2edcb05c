-- Minutes of days that ended a day ago or longer, packed by quarters of an hour, and the rows of packed days and weeks of users.
-- Locks: none to apply, it only creates. At run time the roll-up's advisory transaction lock, which whoever packs or unpacks
-- holds, and ROW EXCLUSIVE on the two tables of minutes.

-- A minute seldom has more than one call of the same dimensions, and a row for it is mostly what every row carries, and its
-- index. Here a quarter of an hour is one row and each column an array with a place for each minute and dimensions; an array
-- that would be empty is null. The minutes of a quarter are either rows of usage_by_minute or packed, never both.
do $table$
begin
  execute format(
    $sql$
    create table observability_internal.packed_minutes (
      bucket timestamptz not null,
      minutes smallint[] not null,
      dim_ids integer[] not null,
      %s,
      latency text[],
      time_to_first_token text[],
      constraint packed_minutes_pkey primary key (bucket)
    )
    $sql$,
    observability_internal.each_sum('%1$I %2$s[]')
  );
end
$table$;

comment on table observability_internal.packed_minutes is
'The minutes of a UTC quarter of an hour: minutes after its start, dimensions, sums and histograms, each an array. An entry of'
' a histogram is weight * 2048 + bin + 400, and a histogram the text of an array of them. Rows are in unpacked_minutes.';

alter table observability_internal.packed_minutes enable row level security;

grant select on table observability_internal.packed_minutes to authenticated;

grant select, insert, update, delete on table observability_internal.packed_minutes to service_role;

create policy "analysts read the packed minutes" on observability_internal.packed_minutes
for select to authenticated
using ((select observability_internal.can_read_all()));

-- Arrays are unnested in the list of columns, which is a third quicker than in FROM; a condition on `quarter` reaches the
-- table, one on `bucket` does not.
do $views$
begin
  execute format(
    $sql$
    create view observability_internal.unpacked_minutes with (security_invoker = true) as
    select
      p.quarter, p.quarter + p.minute * interval '1 minute' as bucket, p.dim_id, %1$s,
      case when p.latency is not null then array(
        select ((c.code & 2047) << 44) + ((c.code >> 11) << 10) from (select unnest(p.latency::bigint[]) as code) as c
      ) end as latency,
      case when p.time_to_first_token is not null then array(
        select ((c.code & 2047) << 44) + ((c.code >> 11) << 10) from (select unnest(p.time_to_first_token::bigint[]) as code) as c
      ) end as time_to_first_token
    from (
      select
        k.bucket as quarter, unnest(k.minutes) as minute, unnest(k.dim_ids) as dim_id, %2$s, unnest(k.latency) as latency,
        unnest(k.time_to_first_token) as time_to_first_token
      from observability_internal.packed_minutes as k
    ) as p
    $sql$,
    observability_internal.each_sum('p.%1$I'), observability_internal.each_sum('unnest(k.%1$I) as %1$I')
  );
end
$views$;

comment on view observability_internal.unpacked_minutes is 'Packed minutes as usage_by_minute has them, with the quarter of an hour that they are packed in.';

grant select on table observability_internal.unpacked_minutes to authenticated, service_role;

create view observability_internal.users_of_days with (security_invoker = true) as
select
  d.bucket, unnest(d.user_keys) as user_key, unnest(d.requests) as requests, unnest(d.errors) as errors,
  unnest(d.prompt_tokens) as prompt_tokens, unnest(d.completion_tokens) as completion_tokens,
  unnest(d.cached_tokens) as cached_tokens, unnest(d.unpriced_requests) as unpriced_requests, unnest(d.cost) as cost
from observability_internal.usage_by_user_day as d;

comment on view observability_internal.users_of_days is 'The rows of usage_by_user_day, one by user.';

grant select on table observability_internal.users_of_days to authenticated, service_role;

create view observability_internal.users_of_weeks with (security_invoker = true) as
select
  w.dim_id, w.bucket, unnest(w.user_keys) as user_key, unnest(w.requests) as requests, unnest(w.errors) as errors,
  unnest(w.prompt_tokens) as prompt_tokens, unnest(w.completion_tokens) as completion_tokens,
  unnest(w.cached_tokens) as cached_tokens, unnest(w.unpriced_requests) as unpriced_requests, unnest(w.cost) as cost
from observability_internal.usage_by_user_week as w;

comment on view observability_internal.users_of_weeks is 'The rows of usage_by_user_week, one by user and dimensions.';

grant select on table observability_internal.users_of_weeks to authenticated, service_role;

create function observability_internal.quarters_of(moments timestamptz[]) returns timestamptz[]
language sql
immutable
security invoker
set search_path = ''
as $$
  select array(select distinct date_bin('15 minutes', m.moment, '2000-01-01 00:00:00+00') from unnest(moments) as m (moment));
$$;

comment on function observability_internal.quarters_of is 'The quarters of an hour that these moments lie in.';
revoke execute on function observability_internal.quarters_of from public;
grant execute on function observability_internal.quarters_of to authenticated, service_role;

create function observability_internal.minutes_at(minutes timestamptz[], has_histograms boolean)
returns setof observability_internal.usage_by_minute
language plpgsql
stable
security invoker
set search_path = ''
rows 2000
as $$
begin
  if minutes_at.minutes = '{}' then
    return;
  end if;
  return query execute format(
    $sql$
    select r.bucket, r.dim_id, %1$s, case when $3 then r.latency end, case when $3 then r.time_to_first_token end
    from observability_internal.usage_by_minute as r
    where r.bucket = any ($1)
    union all
    select r.bucket, r.dim_id, %1$s, case when $3 then r.latency end, case when $3 then r.time_to_first_token end
    from observability_internal.unpacked_minutes as r
    where r.quarter = any ($2) and r.bucket = any ($1)
    $sql$,
    observability_internal.each_sum('r.%1$I')
  ) using minutes_at.minutes, observability_internal.quarters_of(minutes_at.minutes), has_histograms;
end;
$$;

comment on function observability_internal.minutes_at is 'The rows of these minutes, packed or not; without histograms where they are not asked for.';
revoke execute on function observability_internal.minutes_at from public;
grant execute on function observability_internal.minutes_at to authenticated, service_role;

create function observability_internal.minutes_within(from_time timestamptz, to_time timestamptz)
returns setof observability_internal.usage_by_minute
language plpgsql
stable
security invoker
set search_path = ''
rows 50000
as $$
begin
  return query execute format(
    $sql$
    select r.bucket, r.dim_id, %1$s, r.latency, r.time_to_first_token
    from observability_internal.usage_by_minute as r
    where r.bucket >= $1 and r.bucket < $2
    union all
    select r.bucket, r.dim_id, %1$s, r.latency, r.time_to_first_token
    from observability_internal.unpacked_minutes as r
    where r.quarter > $1 - interval '15 minutes' and r.quarter < $2 and r.bucket >= $1 and r.bucket < $2
    $sql$,
    observability_internal.each_sum('r.%1$I')
  ) using minutes_within.from_time, minutes_within.to_time;
end;
$$;

comment on function observability_internal.minutes_within is 'The rows of the minutes of a range, packed or not.';
revoke execute on function observability_internal.minutes_within from public;
grant execute on function observability_internal.minutes_within to authenticated, service_role;

create function observability_internal.oldest_minute() returns timestamptz
language sql
stable
security invoker
set search_path = ''
as $$
  select least(
    (select min(r.bucket) from observability_internal.usage_by_minute as r),
    (
      select k.bucket + (select min(m.minute) from unnest(k.minutes) as m (minute)) * interval '1 minute'
      from observability_internal.packed_minutes as k
      order by k.bucket
      limit 1
    )
  );
$$;

comment on function observability_internal.oldest_minute is 'The first minute with calls; null where there are none.';
revoke execute on function observability_internal.oldest_minute from public;
grant execute on function observability_internal.oldest_minute to authenticated, service_role;

create function observability_internal.newest_minute() returns timestamptz
language sql
stable
security invoker
set search_path = ''
as $$
  select greatest(
    (select max(r.bucket) from observability_internal.usage_by_minute as r),
    (
      select k.bucket + (select max(m.minute) from unnest(k.minutes) as m (minute)) * interval '1 minute'
      from observability_internal.packed_minutes as k
      order by k.bucket desc
      limit 1
    )
  );
$$;

comment on function observability_internal.newest_minute is 'The last minute with calls; null where there are none.';
revoke execute on function observability_internal.newest_minute from public;
grant execute on function observability_internal.newest_minute to authenticated, service_role;

create function observability_internal.unpack_minutes(quarters timestamptz[]) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  if not exists (select from observability_internal.packed_minutes as k where k.bucket = any (quarters)) then
    return;
  end if;
  execute format(
    $sql$
    insert into observability_internal.usage_by_minute (bucket, dim_id, %1$s, latency, time_to_first_token)
    select r.bucket, r.dim_id, %1$s, r.latency, r.time_to_first_token
    from observability_internal.unpacked_minutes as r
    where r.quarter = any ($1)
    $sql$,
    observability_internal.each_sum('%1$I')
  ) using quarters;
  delete from observability_internal.packed_minutes as k where k.bucket = any (quarters);
end;
$$;

comment on function observability_internal.unpack_minutes is 'Makes rows of the packed minutes of these quarters of an hour, so that they can be changed.';
revoke execute on function observability_internal.unpack_minutes from public;
grant execute on function observability_internal.unpack_minutes to service_role;

create function observability_internal.pack_minutes(from_time timestamptz, to_time timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  execute format(
    $sql$
    with cells as (
      select
        date_bin('15 minutes', r.bucket, '2000-01-01 00:00:00+00') as quarter, r.bucket, r.dim_id, %1$s,
        case when r.latency is not null then array(
          select (e.entry >> 44) + ((e.entry & 17592186044415) >> 10 << 11) from (select unnest(r.latency) as entry) as e
        )::text end as latency,
        case when r.time_to_first_token is not null then array(
          select (e.entry >> 44) + ((e.entry & 17592186044415) >> 10 << 11) from (select unnest(r.time_to_first_token) as entry) as e
        )::text end as time_to_first_token
      from observability_internal.usage_by_minute as r
      where r.bucket >= $1 and r.bucket < $2
    )
    insert into observability_internal.packed_minutes (bucket, minutes, dim_ids, %2$s, latency, time_to_first_token)
    select
      c.quarter, array_agg((extract(epoch from c.bucket - c.quarter) / 60)::smallint order by c.dim_id, c.bucket),
      array_agg(c.dim_id order by c.dim_id, c.bucket), %3$s,
      case when count(c.latency) > 0 then array_agg(c.latency order by c.dim_id, c.bucket) end,
      case when count(c.time_to_first_token) > 0 then array_agg(c.time_to_first_token order by c.dim_id, c.bucket) end
    from cells as c
    group by c.quarter
    $sql$,
    observability_internal.each_sum('r.%1$I'), observability_internal.each_sum('%1$I'),
    observability_internal.each_sum(
      'array_agg(c.%1$I order by c.dim_id, c.bucket)',
      'case when count(c.%1$I) > 0 then array_agg(c.%1$I order by c.dim_id, c.bucket) end'
    )
  ) using pack_minutes.from_time, pack_minutes.to_time;
  delete from observability_internal.usage_by_minute as r where r.bucket >= pack_minutes.from_time and r.bucket < pack_minutes.to_time;
end;
$$;

comment on function observability_internal.pack_minutes is 'Packs the rows of the minutes of a range of whole quarters of an hour.';
revoke execute on function observability_internal.pack_minutes from public;
grant execute on function observability_internal.pack_minutes to service_role;

-- Alerts and live charts read the minutes of today and yesterday, and late calls mostly belong there. What waits to be
-- condensed has just changed and may change again.
create function observability_internal.pack_oldest_day() returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_day constant timestamptz := date_trunc('day', (select min(r.bucket) from observability_internal.usage_by_minute as r));
begin
  if v_day is null or v_day > date_trunc('day', now()) - interval '2 days' or exists (
    select from observability_internal.stale_rollups as s
    where s.level in ('hour', 'day') and s.bucket >= v_day and s.bucket < v_day + interval '1 day'
  ) then
    return false;
  end if;
  perform observability_internal.pack_minutes(v_day, v_day + interval '1 day');
  return true;
end;
$$;

comment on function observability_internal.pack_oldest_day is
'Packs the oldest UTC day of minutes that are rows, where it is condensed and ended a day ago; whether there was one.';
revoke execute on function observability_internal.pack_oldest_day from public;
grant execute on function observability_internal.pack_oldest_day to service_role;
