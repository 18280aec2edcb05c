-- Who exported what: one row for each file of figures or calls that was handed out.
-- Locks: none; it only creates.

create table observability_internal.exports (
  export_id bigint generated always as identity,
  exported_at timestamptz not null default now(),
  exported_by text not null,
  via text not null,
  kind text not null,
  format text not null,
  from_time timestamptz,
  to_time timestamptz,
  timezone text,
  dimensions text[] not null default '{}',
  filters jsonb not null default '{}',
  row_count bigint not null,
  sha256 text,
  constraint exports_pkey primary key (export_id),
  constraint "an export leaves by the app, a command, a schedule or a program" check (
    via in ('app', 'command', 'schedule', 'program')
  ),
  constraint "an export is a statement, a FOCUS export, calls or rows" check (kind in ('statement', 'focus', 'calls', 'entities')),
  constraint "an export's format is csv, jsonl, xlsx, parquet or pdf" check (
    format in ('csv', 'jsonl', 'xlsx', 'parquet', 'pdf')
  ),
  constraint "an export's texts are short" check (
    char_length(exported_by) <= 200 and char_length(timezone) <= 100 and pg_column_size(filters) <= 65536
  ),
  constraint "an export has 0 rows or more" check (row_count >= 0),
  constraint "the checksum of an export is the SHA-256 of the file, in hexadecimal" check (sha256 ~ '^[0-9a-f]{64}$')
);

comment on table observability_internal.exports is
'Files of figures or calls that were handed out: who asked, through what, which range and filters, how many rows.';

create index exports_exported_at_idx on observability_internal.exports (exported_at, export_id);

alter table observability_internal.exports enable row level security;

grant select on table observability_internal.exports to authenticated;

grant select, insert, update, delete on table observability_internal.exports to service_role;

create policy "ops see who exported what" on observability_internal.exports
for select to authenticated
using ((select observability_internal.is_ops()));

-- Security definer: people write no table themselves. Who they are is taken from their token, whatever they say.
create function observability.log_export(export jsonb) returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_access constant text := observability_internal.require_access('{member,tenant,analyst,ops,service}');
  v_unknown text;
  v_id bigint;
begin
  if jsonb_typeof(export) is distinct from 'object' then
    raise exception 'an export is a JSON object' using errcode = '22023';
  end if;
  select k.key into v_unknown
  from jsonb_object_keys(export) as k (key)
  where k.key <> all (array[
    'via', 'kind', 'format', 'from_time', 'to_time', 'timezone', 'dimensions', 'filters', 'row_count', 'sha256', 'exported_by'
  ])
  limit 1;
  if v_unknown is not null then
    raise exception 'an export has no field %', left(v_unknown, 100) using errcode = '22023';
  end if;
  insert into observability_internal.exports (
    exported_by, via, kind, format, from_time, to_time, timezone, dimensions, filters, row_count, sha256
  )
  values (
    case
      when v_access = 'service' then coalesce(left(nullif(export ->> 'exported_by', ''), 200), 'service_role')
      else auth.jwt() ->> 'sub'
    end,
    case when v_access = 'service' then coalesce(export ->> 'via', 'program') when export ->> 'via' = 'app' then 'app' else 'program' end,
    export ->> 'kind', export ->> 'format', (export ->> 'from_time')::timestamptz, (export ->> 'to_time')::timestamptz,
    export ->> 'timezone',
    case
      when jsonb_typeof(export -> 'dimensions') = 'array'
        then array(select jsonb_array_elements_text(export -> 'dimensions'))
      else '{}'
    end,
    coalesce(export -> 'filters', '{}'), (export ->> 'row_count')::bigint, export ->> 'sha256'
  )
  returning export_id into v_id;
  return v_id;
end;
$$;

comment on function observability.log_export is
'Notes that a file was handed out: {via, kind, format, from_time, to_time, timezone, dimensions, filters, row_count, '
'sha256}; of the service also exported_by. Returns its number.';
revoke execute on function observability.log_export from public;
grant execute on function observability.log_export to authenticated, service_role;

create function observability.get_exports(row_limit integer default 100, before_id bigint default null) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{ops,service}');
  if row_limit is null or row_limit not between 1 and 1000 then
    raise exception 'row_limit is from 1 to 1000' using errcode = '22023';
  end if;
  return (
    select coalesce(jsonb_agg(to_jsonb(e) order by e.export_id desc), '[]')
    from (
      select x.*
      from observability_internal.exports as x
      where before_id is null or x.export_id < before_id
      order by x.export_id desc
      limit row_limit
    ) as e
  );
end;
$$;

comment on function observability.get_exports is
'The newest exports: [{export_id, exported_at, exported_by, via, kind, format, from_time, to_time, timezone, dimensions, '
'filters, row_count, sha256}]. Ops only.';
revoke execute on function observability.get_exports from public;
grant execute on function observability.get_exports to authenticated, service_role;
