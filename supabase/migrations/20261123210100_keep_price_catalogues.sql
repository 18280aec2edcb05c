-- Purpose: the base catalogue as the worker fetched it last, for every process that prices; and what those read.
-- Locks: none on existing objects.

create table observability_internal.price_catalogues (
  catalogue_id bigint generated always as identity,
  fetched_at timestamptz not null default now(),
  source_url text not null,
  reader_version text not null,
  sha256 text not null,
  content text not null,
  constraint price_catalogues_pkey primary key (catalogue_id),
  constraint "a catalogue names its source and reader" check (
    char_length(source_url) between 1 and 500 and char_length(reader_version) between 1 and 50
    and char_length(sha256) = 64
  ),
  constraint "a catalogue has at most 32 MiB" check (octet_length(content) <= 33554432)
);

comment on table observability_internal.price_catalogues is 'The last ten versions of genai-prices'' published catalogue; reader_version is the release of genai-prices that could read it.';

alter table observability_internal.price_catalogues enable row level security;

grant select, insert, delete on table observability_internal.price_catalogues to service_role;

create function observability.save_price_catalogue(source_url text, reader_version text, content text) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
as $$
#variable_conflict use_column
declare
  v_sha256 constant text := encode(sha256(convert_to(save_price_catalogue.content, 'UTF8')), 'hex');
  v_catalogue_id bigint;
  v_is_new boolean := false;
begin
  perform pg_advisory_xact_lock(hashtextextended('treering.price_catalogue', 0));
  select c.catalogue_id into v_catalogue_id
  from (select l.* from observability_internal.price_catalogues as l order by l.catalogue_id desc limit 1) as c
  where c.sha256 = v_sha256 and c.reader_version = save_price_catalogue.reader_version;
  if v_catalogue_id is null then
    insert into observability_internal.price_catalogues (source_url, reader_version, sha256, content)
    values (
      save_price_catalogue.source_url, save_price_catalogue.reader_version, v_sha256, save_price_catalogue.content
    )
    returning catalogue_id into v_catalogue_id;
    v_is_new := true;
    delete from observability_internal.price_catalogues as c
    where c.catalogue_id not in (
      select l.catalogue_id from observability_internal.price_catalogues as l order by l.catalogue_id desc limit 10
    );
  end if;
  return jsonb_build_object('catalogue_id', v_catalogue_id, 'is_new', v_is_new);
end;
$$;

comment on function observability.save_price_catalogue(text, text, text) is 'Keeps a fetched catalogue unless it is the last one again. Returns {catalogue_id, is_new}.';

create function observability.get_price_catalogue() returns jsonb
language sql
stable
security invoker
set search_path = ''
set statement_timeout = '60s'
as $$
  select to_jsonb(c) from observability_internal.price_catalogues as c order by c.catalogue_id desc limit 1;
$$;

comment on function observability.get_price_catalogue() is 'The catalogue fetched last {catalogue_id, fetched_at, source_url, reader_version, sha256, content}; null for none.';

-- Security definer: analysts see which catalogue is in force without rights on its table.
create function observability_internal.current_catalogue() returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  select jsonb_build_object(
    'catalogue_id', c.catalogue_id, 'fetched_at', c.fetched_at, 'source_url', c.source_url,
    'reader_version', c.reader_version, 'sha256', c.sha256
  )
  from observability_internal.price_catalogues as c
  where observability_internal.can_read_all()
  order by c.catalogue_id desc
  limit 1;
$$;

comment on function observability_internal.current_catalogue() is 'Which catalogue was fetched last, without its content; null for none and for members.';

create function observability.get_prices() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
set timezone = 'UTC'
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return jsonb_build_object(
    'generated_at', now(),
    'catalogue', observability_internal.current_catalogue(),
    'prices', (
      select coalesce(jsonb_agg(observability_internal.describe_price(p) order by p.price_id), '[]')
      from observability.model_prices as p
    )
  );
end;
$$;

comment on function observability.get_prices() is 'The customer''s prices, superseded ones too, and which catalogue is in force: {generated_at, catalogue, prices}. Analysts and ops.';

grant execute on function observability.save_price_catalogue(text, text, text) to service_role;

grant execute on function observability.get_price_catalogue() to service_role;

grant execute on function observability_internal.current_catalogue() to authenticated, service_role;

grant execute on function observability.get_prices() to authenticated, service_role;
