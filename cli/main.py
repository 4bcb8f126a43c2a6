def main() -> None:
    print("chimera")
