-- Who may see what: every signed-in person their own calls, a tenant's people those of the tenant, analysts and ops what
-- their row in `members` allows.
-- Locks: none; it only creates.

create table observability_internal.members (
  user_id text not null,
  role text not null,
  tenant_id text,
  added_at timestamptz not null default now(),
  added_by text,
  constraint members_pkey primary key (user_id),
  constraint "a member's user id has 1 to 200 characters" check (char_length(user_id) between 1 and 200),
  constraint "a member's role is member, tenant, analyst or ops" check (role in ('member', 'tenant', 'analyst', 'ops')),
  constraint "the role tenant and no other names a tenant of 1 to 200 characters" check (
    (role = 'tenant') = (tenant_id is not null) and char_length(tenant_id) between 1 and 200
  )
);

comment on table observability_internal.members is
'People with more rights than their own rows: tenant reads the calls of one tenant, analyst reads all, ops also changes rules, channels, prices and '
'members.';

alter table observability_internal.members enable row level security;

grant select on table observability_internal.members to authenticated;

grant select, insert, update, delete on table observability_internal.members to service_role;

-- A token's own claim wins over the row, for it can only narrow what the person sees. An empty claim names no tenant, and
-- whoever bears it is a stranger.
-- Security definer: it reads `members`, whose own policies depend on its answer.
create function observability_internal.current_tenant() returns text
language sql
stable
security definer
set search_path = ''
as $$
  select case
    when auth.jwt() ->> 'treering_tenant' is not null then nullif(auth.jwt() ->> 'treering_tenant', '')
    else (select m.tenant_id from observability_internal.members as m where m.user_id = auth.jwt() ->> 'sub')
  end
  where auth.jwt() ->> 'role' = 'authenticated';
$$;

comment on function observability_internal.current_tenant is
'The tenant whose calls alone the caller sees, from the claim treering_tenant or from `members`; null for others.';
revoke execute on function observability_internal.current_tenant from public;
grant execute on function observability_internal.current_tenant to authenticated, service_role;

-- Security definer: as above.
create function observability_internal.current_person() returns text
language sql
stable
security definer
set search_path = ''
as $$
  select auth.jwt() ->> 'sub'
  where auth.jwt() ->> 'treering_tenant' is null and observability_internal.current_tenant() is null;
$$;

comment on function observability_internal.current_person is
'The user id whose calls the caller sees as their own; null for a tenant, which sees no calls beside its own.';
revoke execute on function observability_internal.current_person from public;
grant execute on function observability_internal.current_person to authenticated, service_role;

-- Security definer: it reads `members`, whose own policies depend on its answer.
create function observability_internal.access_level() returns text
language sql
stable
security definer
set search_path = ''
as $$
  select case
    when pg_catalog.current_setting('role', true) = 'service_role' then 'service'
    when coalesce(auth.jwt() ->> 'sub', '') = '' or auth.jwt() ->> 'role' is distinct from 'authenticated' then null
    when auth.jwt() ->> 'treering_tenant' = '' then null
    when observability_internal.current_tenant() is not null then 'tenant'
    else coalesce((select m.role from observability_internal.members as m where m.user_id = auth.jwt() ->> 'sub'), 'member')
  end;
$$;

comment on function observability_internal.access_level is 'The caller''s access: service, ops, analyst, tenant, member (signed in) or null (a stranger).';
revoke execute on function observability_internal.access_level from public;
grant execute on function observability_internal.access_level to authenticated, service_role;

create function observability_internal.can_read_all() returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(observability_internal.access_level() in ('analyst', 'ops', 'service'), false);
$$;

comment on function observability_internal.can_read_all is 'Whether the caller may read every user''s rows.';
revoke execute on function observability_internal.can_read_all from public;
grant execute on function observability_internal.can_read_all to authenticated, service_role;

create function observability_internal.is_ops() returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(observability_internal.access_level() in ('ops', 'service'), false);
$$;

comment on function observability_internal.is_ops is 'Whether the caller may change rules, channels, prices and members.';
revoke execute on function observability_internal.is_ops from public;
grant execute on function observability_internal.is_ops to authenticated, service_role;

create policy "a person sees their own membership, ops see all" on observability_internal.members
for select to authenticated
using (user_id = ((select auth.jwt()) ->> 'sub') or (select observability_internal.is_ops()));

create function observability_internal.require_access(levels text[]) returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_level constant text := observability_internal.access_level();
begin
  if v_level is null or not v_level = any (levels) then
    raise exception 'this needs the access of %', array_to_string(levels, ' or ')
      using errcode = '42501', hint = format('An ops member can grant it: treering members add USER_ID --role %s.', levels[1]);
  end if;
  return v_level;
end;
$$;

comment on function observability_internal.require_access is 'The caller''s access when it is one of the levels; otherwise refuses with 42501.';
revoke execute on function observability_internal.require_access from public;
grant execute on function observability_internal.require_access to authenticated, service_role;

-- Two who remove or demote each other wait for each other here.
create function observability_internal.keep_an_ops_member(user_id text) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_ops text[];
begin
  if observability_internal.access_level() = 'service' then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('observability_internal.members'));
  v_ops := array(select m.user_id from observability_internal.members as m where m.role = 'ops');
  if v_ops = array[keep_an_ops_member.user_id] then
    raise exception 'the last ops member cannot be removed in the app'
      using errcode = '22023', hint = 'Add another ops member first, or use treering members.';
  end if;
end;
$$;

comment on function observability_internal.keep_an_ops_member is 'Refuses with 22023 when a person is the only ops member, except to the service.';
revoke execute on function observability_internal.keep_an_ops_member from public;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.add_member(user_id text, role text, tenant_id text default null) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_member jsonb;
begin
  perform observability_internal.require_access('{ops,service}');
  if add_member.role <> 'ops' then
    perform observability_internal.keep_an_ops_member(add_member.user_id);
  end if;
  insert into observability_internal.members as m (user_id, role, tenant_id, added_by)
  values (add_member.user_id, add_member.role, add_member.tenant_id, coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role'))
  on conflict (user_id) do update set
    role = excluded.role, tenant_id = excluded.tenant_id, added_at = now(), added_by = excluded.added_by
  returning to_jsonb(m) into v_member;
  return v_member;
end;
$$;

comment on function observability.add_member is
'Adds a member or changes their role: member, tenant (of a tenant_id), analyst or ops. Ops only. Returns the row.';
revoke execute on function observability.add_member from public;
grant execute on function observability.add_member to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.remove_member(user_id text) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{ops,service}');
  perform observability_internal.keep_an_ops_member(remove_member.user_id);
  delete from observability_internal.members as m where m.user_id = remove_member.user_id;
  return found;
end;
$$;

comment on function observability.remove_member is 'Removes a member; true when there was one. Ops only; the last ops member stays.';
revoke execute on function observability.remove_member from public;
grant execute on function observability.remove_member to authenticated, service_role;

create function observability.list_members() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{ops,service}');
  return (select coalesce(jsonb_agg(to_jsonb(m) order by m.added_at, m.user_id), '[]') from observability_internal.members as m);
end;
$$;

comment on function observability.list_members is 'All members as [{user_id, role, tenant_id, added_at, added_by}]. Ops only.';
revoke execute on function observability.list_members from public;
grant execute on function observability.list_members to authenticated, service_role;
