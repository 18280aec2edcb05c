-- What people keep of the app's pages: the choices of a page under a name, for themselves or for the team.
-- Locks: none; it only creates.

create table observability_internal.saved_views (
  view_id bigint generated always as identity,
  owner text not null,
  page text not null,
  name text not null,
  query jsonb not null,
  is_shared boolean not null default false,
  saved_at timestamptz not null default now(),
  constraint saved_views_pkey primary key (view_id),
  constraint "a person has one view of a name on a page" unique (owner, page, name),
  constraint "an owner has 1 to 200 characters" check (char_length(owner) between 1 and 200),
  constraint "a page has 1 to 50 characters" check (char_length(page) between 1 and 50),
  constraint "a view's name has 1 to 80 characters" check (char_length(name) between 1 and 80),
  constraint "a view's choices are an object of at most 10,000 characters" check (
    jsonb_typeof(query) = 'object' and char_length(query::text) <= 10000
  )
);

comment on table observability_internal.saved_views is
'Choices of a page (its address''s parameters) under a name, each by one person; shared ones for analysts and ops too.';

alter table observability_internal.saved_views enable row level security;

grant select on table observability_internal.saved_views to authenticated;

grant select, insert, update, delete on table observability_internal.saved_views to service_role;

-- A shared view can name users, models and sessions: members see their own alone.
create policy "people see their own views, analysts and ops the shared ones" on observability_internal.saved_views
for select to authenticated
using (
  owner = ((select auth.jwt()) ->> 'sub') or (is_shared and (select observability_internal.can_read_all()))
);

create function observability_internal.view_owner() returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if observability_internal.access_level() is null then
    raise exception 'views are of people who are signed in' using errcode = '42501';
  end if;
  return coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role', 'service');
end;
$$;

comment on function observability_internal.view_owner is 'Whose views the caller saves; refuses a stranger with 42501.';
revoke execute on function observability_internal.view_owner from public;
grant execute on function observability_internal.view_owner to authenticated, service_role;

create function observability.get_views() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_owner constant text := observability_internal.view_owner();
begin
  return jsonb_build_object('views', coalesce((
    select
      jsonb_agg(
        to_jsonb(v) || jsonb_build_object('is_own', v.owner = v_owner) order by v.owner <> v_owner, v.page, v.name, v.owner
      )
    from observability_internal.saved_views as v
  ), '[]'));
end;
$$;

comment on function observability.get_views is
'The caller''s views, then those that others share with analysts and ops, as {views: [{view_id, owner, page, name, query, '
'is_shared, saved_at, is_own}]}.';
revoke execute on function observability.get_views from public;
grant execute on function observability.get_views to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one writes the caller's own alone.
create function observability.save_view(view jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_owner constant text := observability_internal.view_owner();
  v_new observability_internal.saved_views;
begin
  v_new := jsonb_populate_record(null::observability_internal.saved_views, jsonb_build_object(
    'page', view -> 'page', 'name', btrim(view ->> 'name'), 'query', view -> 'query',
    'is_shared', coalesce(view -> 'is_shared', 'false')
  ));
  if v_new.is_shared then
    perform observability_internal.require_access('{analyst,ops,service}');
  end if;
  -- Two windows of one person take turns, so that the limit holds.
  perform pg_advisory_xact_lock(hashtextextended('treering.saved_views', 0));
  if (
    select count(*) >= 200 from observability_internal.saved_views as v
    where v.owner = v_owner and (v.page, v.name) <> (v_new.page, v_new.name)
  ) then
    raise exception 'a person keeps at most 200 views' using errcode = '22023', hint = 'Delete one first.';
  end if;
  insert into observability_internal.saved_views as v (owner, page, name, query, is_shared)
  values (v_owner, v_new.page, v_new.name, v_new.query, v_new.is_shared)
  on conflict on constraint "a person has one view of a name on a page" do update set
    query = excluded.query, is_shared = excluded.is_shared, saved_at = now()
  returning * into v_new;
  return to_jsonb(v_new) || '{"is_own": true}';
end;
$$;

comment on function observability.save_view is
'Keeps {page, name, query, is_shared} for the caller; a view of the same name on the same page is replaced. Sharing needs '
'the access of an analyst. At most 200 a person. Returns the view.';
revoke execute on function observability.save_view from public;
grant execute on function observability.save_view to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks whose view it is.
create function observability.delete_view(view_id bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_owner constant text := observability_internal.view_owner();
begin
  delete from observability_internal.saved_views as v
  where v.view_id = delete_view.view_id
    and (v.owner = v_owner or (v.is_shared and observability_internal.is_ops()));
  return found;
end;
$$;

comment on function observability.delete_view is
'Deletes a view of the caller''s, or as ops any shared one; true when there was one.';
revoke execute on function observability.delete_view from public;
grant execute on function observability.delete_view to authenticated, service_role;
